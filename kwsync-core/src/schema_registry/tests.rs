use super::*;

fn schema(columns: &[(&str, DataType)]) -> Schema {
    Schema::new(columns.iter().map(|(name, data_type)| Column::new(*name, data_type.clone())).collect())
        .unwrap()
}

#[test]
fn the_first_type_stands_and_versions_grow() {
    let registry = SchemaRegistry::new();
    let t = TableId::new("t");
    assert_eq!(registry.claim(&t, &Column::new("a", DataType::Int64)), Claim::Agreed(1));
    assert_eq!(registry.claim(&t, &Column::new("b", DataType::Text)), Claim::Agreed(2));
    assert_eq!(registry.claim(&t, &Column::new("a", DataType::Int64)), Claim::Agreed(2));
    assert!(matches!(registry.claim(&t, &Column::new("a", DataType::Bool)), Claim::Conflict(_)));
    assert_eq!(registry.get(&t).unwrap().columns().len(), 2);
}

#[test]
fn lanes_that_race_agree_on_one_schema() {
    let registry = SchemaRegistry::new();
    let t = TableId::new("t");
    std::thread::scope(|scope| {
        for lane in 0..4 {
            let (registry, t) = (&registry, &t);
            scope.spawn(move || {
                for n in 0..50 {
                    let name = format!("c{}", (n * 7 + lane * 13) % 50);
                    assert!(matches!(
                        registry.claim(t, &Column::new(name, DataType::Int64)),
                        Claim::Agreed(_)
                    ));
                }
            });
        }
    });
    let schema = registry.get(&t).unwrap();
    assert_eq!((schema.columns().len(), schema.version()), (50, 50));
}

#[test]
fn merging_widens_exactly_or_changes_nothing() {
    let registry = SchemaRegistry::new();
    let t = TableId::new("t");
    registry.merge(&t, &schema(&[("a", DataType::Int16), ("b", DataType::VarChar(Some(5)))])).unwrap();
    let merged = registry
        .merge(
            &t,
            &schema(&[("b", DataType::VarChar(Some(9))), ("a", DataType::Int32), ("c", DataType::Bool)]),
        )
        .unwrap();
    assert_eq!(
        *merged,
        schema(&[("a", DataType::Int32), ("b", DataType::VarChar(Some(9))), ("c", DataType::Bool)])
    );
    assert_eq!(merged.version(), 2);
    let error = registry.merge(&t, &schema(&[("d", DataType::Bool), ("c", DataType::Int8)])).unwrap_err();
    assert!(error.to_string().contains("column \"c\" of table t is bool, and i8"), "{error}");
    assert_eq!(error.location().and_then(Location::column), Some("c"));
    assert_eq!(registry.get(&t).unwrap(), merged);
}

#[test]
fn integers_that_turn_out_to_be_floats_do_not_end_a_job() {
    let registry = SchemaRegistry::new();
    let t = TableId::new("t");
    registry.merge(&t, &schema(&[("a", DataType::Int64)])).unwrap();
    let merged = registry.merge(&t, &schema(&[("a", DataType::Float64)])).unwrap();
    assert_eq!((merged.columns()[0].data_type(), merged.version()), (&DataType::Float64, 2));
    // A batch from before comes late.
    assert_eq!(registry.merge(&t, &schema(&[("a", DataType::Int64)])).unwrap(), merged);
    assert!(registry.merge(&t, &schema(&[("a", DataType::Int32)])).is_err());
}

#[test]
fn widening_never_loses() {
    assert_eq!(widen(&DataType::Int64, &DataType::Float64), None);
    assert_eq!(widen(&DataType::Bool, &DataType::Int8), None);
    assert_eq!(widen(&DataType::UInt8, &DataType::Int8), None);
    assert_eq!(widen(&DataType::Float32, &DataType::Float64), Some(DataType::Float64));
    assert_eq!(widen(&DataType::VarChar(None), &DataType::VarChar(Some(3))), Some(DataType::VarChar(None)));
}
