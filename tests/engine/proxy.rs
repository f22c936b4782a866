//! A link that can be made slow, silent or cut: a TCP proxy between a server and its engine.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What becomes of what is sent, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// It is passed on.
    Fair,
    /// Each piece is passed on so much later, one after the other.
    Slow(Duration),
    /// It is kept until the weather changes.
    Silent,
    /// Connections end, and so do new ones.
    Cut,
}

/// The proxy. It ends with the test's process.
pub struct Proxy {
    address: SocketAddr,
    sky: Arc<Sky>,
}

#[derive(Debug)]
struct Sky {
    weather: Mutex<Weather>,
    changed: Condvar,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A proxy to a port of this machine.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let sky = Arc::new(Sky {
            weather: Mutex::new(Weather::Fair),
            changed: Condvar::new(),
            streams: Mutex::default(),
        });
        let accepting = sky.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // The engine may be down, which ends the connection as it would without a proxy.
                if let Ok(far) = TcpStream::connect(("127.0.0.1", port)) {
                    accepting.join(&near, &far);
                }
            }
        });
        Self { address, sky }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn set(&self, weather: Weather) {
        *self.sky.weather.lock().unwrap() = weather;
        self.sky.changed.notify_all();
        if weather == Weather::Cut {
            for stream in self.sky.streams.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Sky {
    fn join(self: &Arc<Self>, near: &TcpStream, far: &TcpStream) {
        for (from, to) in [(near, far), (far, near)] {
            let _ = from.set_nodelay(true);
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            self.streams.lock().unwrap().push(from.try_clone().unwrap());
            let sky = self.clone();
            std::thread::spawn(move || sky.carry(from, to));
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut piece = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            let weather = self.weather.lock().unwrap();
            let silent = |weather: &mut Weather| *weather == Weather::Silent;
            let weather = *self.changed.wait_while(weather, silent).unwrap();
            match weather {
                Weather::Slow(delay) => std::thread::sleep(delay),
                Weather::Cut => break,
                Weather::Fair | Weather::Silent => {}
            }
            if to.write_all(&piece[..length]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
