use std::fs;
use std::path::{Path, PathBuf};

/// The folders with what the services answer.
const FOLDERS: [&str; 3] = ["core/src", "orchestrator/src", "wrap/src"];

/// The sources of the services, without tests.
fn sources() -> Vec<String> {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| host.join(folder)).collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "testing" {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = fs::read_to_string(&path).unwrap();
                let without_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                sources.push(without_tests.to_owned());
            }
        }
    }
    sources
}

/// The codes of errors, with the statuses of their kinds.
pub fn codes() -> Vec<(String, Option<u16>)> {
    let mut codes = Vec::new();
    let starts = [
        ("Error::invalid(", 400),
        ("ErrorKind::Invalid,", 400),
        ("ErrorKind::Unauthorized,", 401),
        ("forbidden(", 403),
        ("ErrorKind::Forbidden,", 403),
        ("ErrorKind::NotFound,", 404),
        ("ErrorKind::MethodNotAllowed,", 405),
        ("Error::conflict(", 409),
        ("ErrorKind::Conflict,", 409),
        ("&Capability::Terminal,", 409),
        ("&Capability::Interactive,", 409),
        ("ErrorKind::Timeout,", 408),
        ("ErrorKind::TooLarge,", 413),
        ("ErrorKind::Refused,", 422),
        ("ErrorKind::TooMany,", 429),
        ("ErrorKind::Internal,", 500),
        ("Error::unavailable(", 503),
        ("ErrorKind::Unavailable,", 503),
    ];
    for source in sources() {
        for (start, status) in starts {
            for rest in source.split(start).skip(1) {
                if let Some(rest) = rest.trim_start().strip_prefix('"') {
                    let code = rest.split('"').next().unwrap();
                    codes.push((code.to_owned(), Some(status)));
                }
            }
        }
    }
    codes.sort();
    codes.dedup();
    codes
}

/// The request lines of all routes: the doc comments of the functions that make them.
pub fn routes() -> Vec<String> {
    let (mut routes, mut filters) = (Vec::new(), 0);
    for source in sources() {
        for line in source.lines() {
            filters += usize::from(line.starts_with("    warp::path") || line == "    warp::get()");
            let Some(request) = line.strip_prefix("/// ") else {
                continue;
            };
            let is_request = ["GET /", "POST /", "PATCH /", "DELETE /"]
                .iter()
                .any(|start| request.starts_with(start));
            if is_request {
                routes.push(
                    request
                        .split(['?', ' '])
                        .take(2)
                        .collect::<Vec<_>>()
                        .join(" "),
                );
            }
        }
    }
    assert_eq!(
        routes.len(),
        filters,
        "each route's doc comment begins with its request line"
    );
    let of = |route: &String, collection: &str, id: &str| {
        let route = route.replace("{collection}", collection);
        if collection == "sessions" {
            route.replace("{id}", id)
        } else {
            route
        }
    };
    let (shared, own): (Vec<_>, Vec<_>) = routes
        .into_iter()
        .partition(|route| route.contains("{collection}"));
    let sessions = shared.iter().map(|route| of(route, "sessions", "{name}"));
    let agents = shared.iter().map(|route| of(route, "agents", "{id}"));
    sessions.chain(agents).chain(own).collect()
}
