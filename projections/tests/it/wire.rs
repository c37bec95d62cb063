//! A way to a server that can be cut.

use std::{net::SocketAddr, path::PathBuf};

use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

/// Where the server is.
#[derive(Clone)]
pub(crate) enum End {
    Tcp(String),
    Socket(PathBuf),
}

pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    is_cut: watch::Sender<bool>,
}

impl Wire {
    pub(crate) async fn new(end: End) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_cut = watch::Sender::new(false);
        let state = is_cut.subscribe();
        tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else { return };
                let mut state = state.clone();
                if *state.borrow_and_update() {
                    continue;
                }
                let end = end.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = join(near, end) => {}
                        _ = state.changed() => {}
                    }
                });
            }
        });
        Self { address, is_cut }
    }

    /// Ends what goes over it, and refuses what comes.
    pub(crate) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    pub(crate) fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn join(near: TcpStream, end: End) {
    match end {
        End::Tcp(address) => both(near, TcpStream::connect(address).await).await,
        End::Socket(path) => both(near, UnixStream::connect(path).await).await,
    }
}

async fn both(mut near: TcpStream, far: std::io::Result<impl AsyncRead + AsyncWrite + Unpin>) {
    if let Ok(mut far) = far {
        let _ = copy_bidirectional(&mut near, &mut far).await;
    }
}
