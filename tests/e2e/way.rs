//! A way to Postgres that can be broken: who comes to a port of the test passes on to the socket of Postgres.
//!
//! It is a thread of its own, so that a test that blocks does not look like a server that does not answer.

use std::{
    future::pending,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};
use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncReadExt, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    runtime,
    sync::watch,
    task::JoinSet,
};

/// What becomes of who comes this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Refusing,
    Silent,
}

pub struct Way {
    /// Of the database, for who is to come this way.
    pub url: String,
    wanted: watch::Sender<State>,
    reached: watch::Receiver<State>,
}

impl Way {
    /// To a database of the tests' Postgres; open.
    pub async fn to(database_url: &str) -> Self {
        let options: PgConnectOptions = database_url.parse().unwrap();
        let folder = options.get_socket().expect("the tests' Postgres has a socket");
        let server = folder.join(format!(".s.PGSQL.{}", options.get_port()));
        // It has the port for as long as the way is there, also while nobody listens.
        let place = bound((Ipv4Addr::LOCALHOST, 0).into());
        let address = place.local_addr().unwrap().as_socket().unwrap();
        let (user, database) = (options.get_username(), options.get_database().unwrap());
        let url = format!("postgres://{user}@{address}/{database}?sslmode=disable");
        let (wanted, state) = watch::channel(State::Open);
        let (reaching, reached) = watch::channel(State::Refusing);
        std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(keep(address, server, state, reaching));
            drop(place);
        });
        let way = Self { url, wanted, reached };
        way.turn(State::Open).await;
        way
    }

    /// Connections are made and pass. Who goes on with one of a time of silence is told that it is gone; who only listens to one
    /// hears nothing, ever.
    pub async fn open(&self) {
        self.turn(State::Open).await;
    }

    /// Connections are refused, and those that there were are closed.
    pub async fn refuse(&self) {
        self.turn(State::Refusing).await;
    }

    /// Connections are made, and nothing passes on them; nor on those that there were.
    pub async fn fall_silent(&self) {
        self.turn(State::Silent).await;
    }

    /// Returns when it is so.
    async fn turn(&self, state: State) {
        self.wanted.send_replace(state);
        self.reached.clone().wait_for(|reached| *reached == state).await.unwrap();
    }
}

/// Until nobody can want another state any more.
async fn keep(address: SocketAddr, server: PathBuf, mut wanted: watch::Receiver<State>, reached: watch::Sender<State>) {
    let mut listener: Option<TcpListener> = None;
    let mut connections = JoinSet::new();
    loop {
        let state = *wanted.borrow_and_update();
        if state == State::Refusing {
            listener = None;
            connections.shutdown().await;
        } else if listener.is_none() {
            listener = Some(listen(address));
        }
        reached.send_replace(state);
        loop {
            let accepted = async {
                match &listener {
                    Some(listener) => listener.accept().await.unwrap().0,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = wanted.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                client = accepted => {
                    connections.spawn(pass(client, server.clone(), wanted.clone()));
                }
            }
        }
    }
}

async fn pass(mut client: TcpStream, server: PathBuf, mut state: watch::Receiver<State>) {
    if *state.borrow() != State::Open {
        return forget(client, state).await;
    }
    let Ok(mut server) = UnixStream::connect(server).await else { return };
    client.set_nodelay(true).unwrap();
    let silent = async {
        drop(state.wait_for(|state| *state == State::Silent).await);
    };
    tokio::select! {
        // First of all: once it is told that it is silent, nothing passes.
        biased;
        () = silent => {}
        _ = copy_bidirectional(&mut client, &mut server) => return,
    }
    forget(client, state).await;
    // Until then it knew of nothing.
    drop(server);
}

/// Says nothing to a client. When the way is open again, it resets the connection if anything was or is said on it: as a machine does
/// that has come in the place of another.
async fn forget(mut client: TcpStream, mut state: watch::Receiver<State>) {
    let mut has_spoken = false;
    let mut bin = [0; 4_096];
    loop {
        let is_open = *state.borrow_and_update() == State::Open;
        if has_spoken && is_open {
            SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            return;
        }
        tokio::select! {
            read = client.read(&mut bin) => match read {
                Ok(1..) => has_spoken = true,
                Ok(0) | Err(_) => return,
            },
            changed = state.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

fn bound(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = bound(address);
    socket.set_nonblocking(true).unwrap();
    socket.listen(1_024).unwrap();
    TcpListener::from_std(socket.into()).unwrap()
}
