//! `/rest/sql` as taosAdapter answers it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::{Fault, Outcome, TdengineServer};

/// Bytes of a piece of an answer: small, so that values lie across pieces.
const PIECE: usize = 1_021;

pub(super) fn serve(server: &TdengineServer, stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let (mut line, mut length, mut authorization) = (String::new(), 0, None);
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "authorization" => authorization = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let (route, query) = path.split_once('?').unwrap_or((&path, ""));
        if route != "/rest/sql" && !route.starts_with("/rest/sql/") {
            answer(&mut stream, 404, b"404 page not found", false)?;
            continue;
        }
        if let Some((status, code, text)) = refused(server, query, authorization.as_deref()) {
            let body = json!({"code": code, "desc": text}).to_string();
            answer(&mut stream, status, body.as_bytes(), false)?;
            continue;
        }
        let sql = String::from_utf8_lossy(&body).trim().to_owned();
        let mut state = server.state();
        let done = state.run(&sql);
        let mut cut = false;
        let body = match done {
            Ok(Outcome::Cut) => return Ok(()),
            Ok(Outcome::Changed(rows)) => {
                json!({"code": 0, "column_meta": [["affected_rows", "INT", 4]], "data": [[rows]], "rows": 1})
                    .to_string()
            }
            Ok(Outcome::Rows(columns, rows)) => {
                let meta: Vec<_> = columns
                    .iter()
                    .map(|(name, kind)| {
                        let (word, length) = super::split_type(kind);
                        let shown = if word == "DECIMAL" { kind.as_str() } else { word };
                        json!([name, shown, length])
                    })
                    .collect();
                if state.cut_answers > 0 && rows.len() > 1 && sql.contains(" ORDER BY ") {
                    state.cut_answers -= 1;
                    cut = true;
                }
                // In the order in which taosAdapter writes it, for its answers are read as they come.
                let (meta, data) = (serde_json::Value::from(meta), serde_json::Value::from(rows.clone()));
                format!("{{\"code\":0,\"column_meta\":{meta},\"data\":{data},\"rows\":{}}}", rows.len())
            }
            Err(Fault(code, text)) => json!({"code": code, "desc": text}).to_string(),
        };
        drop(state);
        answer(&mut stream, 200, body.as_bytes(), cut)?;
        if cut {
            return Ok(());
        }
    }
}

fn refused(
    server: &TdengineServer,
    query: &str,
    authorization: Option<&str>,
) -> Option<(u16, u16, &'static str)> {
    let state = server.state();
    let token = query.split('&').find_map(|pair| pair.strip_prefix("token="));
    if token.is_some() {
        return (token != state.token.as_deref()).then_some((401, 0x0357, "Authentication failure"));
    }
    let Some(authorization) = authorization else { return Some((401, 0x1105, "no auth info input")) };
    let (user, password) = &state.login;
    let wanted = format!("{user}:{password}");
    // 0x0357 comes with 200, as all codes of the server behind it.
    (decoded(authorization.trim_start_matches("Basic ")) != wanted).then_some((
        200,
        0x0357,
        "Authentication failure",
    ))
}

fn decoded(base64: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for digit in base64.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte)) {
        bits = bits << 6 | digit as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn answer(stream: &mut TcpStream, status: u16, body: &[u8], cut: bool) -> std::io::Result<()> {
    let mut out = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    let body = if cut { &body[..body.len() / 2] } else { body };
    for piece in body.chunks(PIECE) {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    if !cut {
        out.extend_from_slice(b"0\r\n\r\n");
    }
    stream.write_all(&out)
}
