//! What a server says of nodes.

use std::collections::HashMap;

use kwsync_core::{DataType, Error, ErrorKind, Result};
use opcua::client::UARequest;
use opcua::client::services::{Browse, Read};
use opcua::types::{
    AttributeId, BrowseDescription, BrowseDirection, BrowseResultMask, DataValue, Identifier, NodeClass,
    NodeId, ReadValueId, ReferenceTypeId, StatusCode, TimestampsToReturn, Variant,
};

use super::config::OpcUaOptions;
use super::session::{Link, fault, named, quiet};
use super::values::{built_in, type_of};

/// Types above a type; more means that the server goes in circles.
const MAX_DEPTH: usize = 20;
/// Nodes that an error names.
const MAX_NAMED: usize = 20;

/// The type of the values of each point.
///
/// # Errors
/// `NotFound` with every node that is not there, `Permission` with every one that may not be read, `Unsupported` with every one that has
/// no value or holds structures.
pub(super) async fn types(link: &Link, options: &OpcUaOptions) -> Result<Vec<DataType>> {
    let ids: Vec<&NodeId> = options.points.iter().map(|point| &point.node).collect();
    let asked = [AttributeId::NodeClass, AttributeId::DataType, AttributeId::ValueRank, AttributeId::Value];
    let mut answers: Vec<DataValue> = Vec::with_capacity(ids.len() * asked.len());
    let nodes: Vec<ReadValueId> = ids
        .iter()
        .flat_map(|id| {
            asked.map(|attribute| ReadValueId {
                attribute_id: attribute as u32,
                ..ReadValueId::from((*id).clone())
            })
        })
        .collect();
    // A server may take fewer at a time than there are attributes of one node.
    for some in nodes.chunks(link.at_once.0) {
        answers.extend(read(link, options, some.to_vec()).await?);
    }
    let mut bases: HashMap<NodeId, Option<DataType>> = HashMap::new();
    let (mut missing, mut hidden, mut odd) = (Vec::new(), Vec::new(), Vec::new());
    let mut types = Vec::with_capacity(ids.len());
    for (point, answer) in options.points.iter().zip(answers.chunks(asked.len())) {
        let [class, declared, rank, value] = answer else { continue };
        let status = class.status.unwrap_or(StatusCode::Good);
        if status.is_bad() {
            missing.push(format!("{} ({})", point.node, named(status)));
            continue;
        }
        if !is_variable(class) {
            odd.push(format!("{} has no value", point.node));
            continue;
        }
        if matches!(value.status, Some(StatusCode::BadUserAccessDenied | StatusCode::BadNotReadable)) {
            hidden.push(point.node.to_string());
            continue;
        }
        let scalar = match (&rank.value, &value.value) {
            (_, Some(Variant::Array(_))) => false,
            (_, Some(value)) if !value.is_empty() => true,
            // -1 is a scalar, -2 and -3 may be one.
            (Some(Variant::Int32(rank)), _) => *rank < 0,
            _ => true,
        };
        let declared = match &declared.value {
            // Nodes are many, their types few.
            Some(Variant::NodeId(id)) => match bases.get(&**id) {
                Some(known) => known.clone(),
                None => {
                    let found = base(link, options, id).await?;
                    bases.insert((**id).clone(), found.clone());
                    found
                }
            },
            _ => None,
        };
        let found = match (declared, value.value.as_ref()) {
            (Some(_), _) if !scalar => Some(DataType::Json),
            (Some(declared), _) => Some(declared),
            // A type that stands for several: what is there now decides.
            (None, Some(value)) => type_of(value),
            (None, None) => None,
        };
        match found {
            Some(found) => types.push(found),
            None if value.value.as_ref().is_none_or(Variant::is_empty) && point.value_type().is_none() => {
                odd.push(format!("{} has no value yet, and its type may be any", point.node));
            }
            None if point.value_type().is_some() => types.extend(point.value_type().cloned()),
            None => odd.push(format!("{} holds structures", point.node)),
        }
    }
    if !missing.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("{} has no node {}", options.url, list(&missing)))
            .with_hint("namespaces of a server may have other numbers than they had; a browser such as UaExpert shows them"));
    }
    if !hidden.is_empty() {
        return Err(Error::new(
            ErrorKind::Permission,
            format!("{} does not let us read {}", options.url, list(&hidden)),
        )
        .with_hint("the user may lack the right"));
    }
    if !odd.is_empty() {
        return Err(Error::new(ErrorKind::Unsupported, format!("{}: {}", options.url, list(&odd)))
            .with_hint("name variables with values of the built-in types; a column of type= in csv_config_file says what is to come"));
    }
    Ok(types)
}

/// The first of some names, and how many more there are.
pub(super) fn list(names: &[String]) -> String {
    let more = names.len().saturating_sub(MAX_NAMED);
    let mut text = names.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn is_variable(class: &DataValue) -> bool {
    matches!(class.value, Some(Variant::Int32(class)) if class == NodeClass::Variable as i32)
}

async fn read(link: &Link, options: &OpcUaOptions, nodes: Vec<ReadValueId>) -> Result<Vec<DataValue>> {
    let count = nodes.len();
    let request =
        Read::new(&link.session).timestamps_to_return(TimestampsToReturn::Neither).nodes_to_read(nodes);
    let answer =
        quiet(request.send(link.session.channel())).await.map_err(|error| fault(error.status(), options))?;
    let values = answer.results.unwrap_or_default();
    if values.len() == count {
        return Ok(values);
    }
    let text = format!("{}: {count} values were asked for, and {} came", options.url, values.len());
    Err(Error::new(ErrorKind::Protocol, text))
}

/// The built-in type that a type is made of, if it is one.
async fn base(link: &Link, options: &OpcUaOptions, id: &NodeId) -> Result<Option<DataType>> {
    let mut id = id.clone();
    for _ in 0..MAX_DEPTH {
        if let (0, Identifier::Numeric(number)) = (id.namespace, &id.identifier) {
            if let Some(found) = built_in(*number) {
                return Ok(Some(found));
            }
            // Structure, DataValue, BaseDataType, DiagnosticInfo, Number, Integer, UInteger.
            if (22..=28).contains(number) {
                return Ok(None);
            }
        }
        let above = BrowseDescription {
            node_id: id,
            browse_direction: BrowseDirection::Inverse,
            reference_type_id: ReferenceTypeId::HasSubtype.into(),
            include_subtypes: false,
            node_class_mask: 0,
            result_mask: BrowseResultMask::None as u32,
        };
        let request = Browse::new(&link.session).nodes_to_browse(vec![above]);
        let answer = quiet(request.send(link.session.channel()))
            .await
            .map_err(|error| fault(error.status(), options))?;
        let references = answer.results.and_then(|results| results.into_iter().next()?.references);
        match references.and_then(|references| references.into_iter().next()) {
            Some(reference) => id = reference.node_id.node_id,
            None => return Ok(None),
        }
    }
    Ok(None)
}
