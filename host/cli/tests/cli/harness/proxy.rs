use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A network between the command and a service, which can fail.
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    target: Mutex<String>,
    connections: Mutex<Vec<TcpStream>>,
    down: AtomicBool,
}

impl Proxy {
    pub fn open() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let copy = Arc::clone(&shared);
        // Ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                copy.connect(client);
            }
        });
        Proxy { address, shared }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Leads to the service at this URL.
    pub fn lead_to(&self, url: &str) {
        *self.shared.target.lock().unwrap() = url.replace("http://", "");
    }

    /// Breaks all connections; new ones can be made.
    pub fn cut(&self) {
        for stream in self.shared.connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Breaks all connections, and new ones at once.
    pub fn go_down(&self) {
        self.shared.down.store(true, Ordering::SeqCst);
        self.cut();
    }

    pub fn come_back(&self) {
        self.shared.down.store(false, Ordering::SeqCst);
    }
}

impl Shared {
    fn connect(&self, client: TcpStream) {
        if self.down.load(Ordering::SeqCst) {
            return;
        }
        let target = self.target.lock().unwrap().clone();
        let server = TcpStream::connect(target).unwrap();
        forward(&client, &server);
        forward(&server, &client);
        self.connections.lock().unwrap().extend([client, server]);
    }
}

fn forward(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    from.set_nodelay(true).unwrap();
    thread::spawn(move || {
        let _ = copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}
