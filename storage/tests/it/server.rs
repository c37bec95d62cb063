//! A real S3 server in this process: s3s, which checks signatures, on files, by s3s-fs.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::{Method, Request, StatusCode, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{Body, HttpResponse, auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use storage::S3Options;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::{JoinHandle, JoinSet},
};

const ACCESS_KEY: &str = "AKIDWEIR";
const SECRET_KEY: &str = "a/secret+of=the+test";
pub(crate) const BUCKET: &str = "weir";
/// Far more than anything should take.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Server {
    folder: tempfile::TempDir,
    address: SocketAddr,
    /// Has the port without listening, so that nobody else gets it while the server is away.
    _reserved: TcpSocket,
    serving: Option<JoinHandle<()>>,
    refusing: Arc<AtomicU32>,
    asked: Arc<Mutex<Vec<String>>>,
    uploads: Arc<Mutex<Option<String>>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let reserved = socket_at(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = reserved.local_addr().unwrap();
        let mut server = Self {
            folder,
            address,
            _reserved: reserved,
            serving: None,
            refusing: Arc::default(),
            asked: Arc::default(),
            uploads: Arc::default(),
        };
        server.start_again();
        server
    }

    /// At the same address, with the same objects.
    pub(crate) fn start_again(&mut self) {
        self.serve(socket_at(self.address).listen(64).unwrap());
    }

    /// Closes the listener and every connection.
    pub(crate) async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }

    fn serve(&mut self, listener: TcpListener) {
        let mut builder = S3ServiceBuilder::new(FileSystem::new(self.folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let (refusing, asked) = (Arc::clone(&self.refusing), Arc::clone(&self.asked));
        let uploads = Arc::clone(&self.uploads);
        self.serving = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (service, refusing, asked) = (service.clone(), Arc::clone(&refusing), Arc::clone(&asked));
                let uploads = Arc::clone(&uploads);
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (service, refusing) = (service.clone(), Arc::clone(&refusing));
                    asked.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
                    let query = request.uri().query().unwrap_or_default();
                    let asks = |name: &str| query.split('&').any(|pair| pair.starts_with(name));
                    let told = uploads.lock().unwrap().clone();
                    // Those that are told of are ended by being asked to.
                    let listed = match *request.method() {
                        Method::GET if asks("uploads") => told,
                        Method::DELETE if asks("uploadId") => told.map(|_| String::new()),
                        _ => None,
                    };
                    async move {
                        if let Some(listed) = listed {
                            return Ok(HttpResponse::new(Body::from(listed)));
                        }
                        let less = |left: u32| left.checked_sub(1);
                        let is_put = request.method() == Method::PUT;
                        if is_put && refusing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                            let mut response =
                                HttpResponse::new(Body::from("<Error><Code>SlowDown</Code></Error>".to_owned()));
                            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                            return Ok(response);
                        }
                        service.call(request.map(Body::from)).await
                    }
                });
                connections.spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(socket), answer).await;
                });
            }
        }));
    }

    /// Answers the next so many PUTs as a server does that has too much to do.
    pub(crate) fn refuse(&self, times: u32) {
        self.refusing.store(times, Ordering::SeqCst);
    }

    /// Answers the question which uploads were never completed, which s3s-fs does not know.
    pub(crate) fn list_uploads(&self, text: String) {
        *self.uploads.lock().unwrap() = Some(text);
    }

    /// What it was asked since it was asked this.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    pub(crate) fn options(&self) -> S3Options {
        let mut options = S3Options::new(BUCKET, "us-east-1");
        options.endpoint = Some(format!("http://{}", self.address));
        options.prefix = Some(storage::Key::new("shared/install-1").unwrap());
        options.access_key = ACCESS_KEY.to_owned();
        options.secret_key = SECRET_KEY.to_owned();
        // Of a server that is there no request fails because the machine is busy.
        options.timeout = PATIENCE;
        options
    }

    /// The objects that there are, by their keys.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.folder.path().join(BUCKET).join("shared/install-1").join(key).exists()
    }

    /// As s3s-fs keeps them.
    pub(crate) fn unfinished_uploads(&self) -> usize {
        let names = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(".upload")).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

/// A socket at an address that others of this process may have as well.
fn socket_at(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
