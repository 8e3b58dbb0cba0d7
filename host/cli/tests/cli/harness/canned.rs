use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

/// Something at a port that gives the same answer to every request: a service in a state that no
/// real one can be brought into here, or no agentd service at all.
pub struct Canned {
    url: String,
}

impl Canned {
    pub fn open(body: &'static str) -> Canned {
        Canned::called("something", body)
    }

    /// What is `server` by its own words.
    pub fn called(server: &'static str, body: &'static str) -> Canned {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // Ends with the test's process.
        thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let request = BufReader::new(client.try_clone().unwrap());
                let lines = request.lines().map_while(Result::ok);
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let length = body.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\nserver: {server}\r\ncontent-length: {length}\r\n");
                let _ = write!(client, "{head}connection: close\r\n\r\n{body}");
            }
        });
        Canned { url }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}
