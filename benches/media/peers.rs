//! nginx as Debian has it, on the same bytes.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::process::{Owned, family};

const NGINX: &str = "/usr/sbin/nginx";
const RTMP_MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// A running nginx.
pub struct Nginx {
    process: Owned,
    pub address: SocketAddr,
}

impl Nginx {
    /// Itself and its workers.
    pub fn processes(&self) -> Vec<u32> {
        family(self.process.0.id())
    }

    /// Serves the files in `folder` with sendfile, by one worker a core.
    ///
    /// `None`, with the reason printed, where there is no nginx.
    pub fn of_files(folder: &Path) -> Option<Self> {
        let address = free_address();
        let root = folder.display();
        Self::start(
            folder,
            "",
            &format!(
                "worker_processes auto;\nevents {{ worker_connections 8192; }}\nhttp {{ sendfile on; tcp_nopush on; \
                 tcp_nodelay on; access_log off; keepalive_requests 1000000000; open_file_cache max=100; \
                 types {{ video/mp4 m4s; application/vnd.apple.mpegurl m3u8; }} \
                 server {{ listen {address} backlog=4096; root {root}; }} }}\n"
            ),
            address,
        )
    }

    /// Takes RTMP and writes HLS to disk, as its module does in one worker.
    pub fn of_rtmp(folder: &Path) -> Option<Self> {
        if !Path::new(RTMP_MODULE).exists() {
            println!("nginx-rtmp: skipped, {RTMP_MODULE} is not installed (apt-get install libnginx-mod-rtmp)");
            return None;
        }
        let address = free_address();
        let root = folder.display();
        Self::start(
            folder,
            &format!("load_module {RTMP_MODULE};\n"),
            &format!(
                "worker_processes 1;\nevents {{ worker_connections 1024; }}\nrtmp {{ server {{ listen {address}; \
                 chunk_size 4096; application live {{ live on; hls on; hls_path {root}/hls; hls_fragment 2s; \
                 hls_playlist_length 10s; }} }} }}\n"
            ),
            address,
        )
    }

    fn start(folder: &Path, modules: &str, rest: &str, address: SocketAddr) -> Option<Self> {
        if !Path::new(NGINX).exists() {
            println!("nginx: skipped, {NGINX} is not installed (apt-get install nginx-light)");
            return None;
        }
        let root = folder.display();
        fs::create_dir_all(folder.join("hls")).unwrap();
        let text = format!(
            "{modules}daemon off;\npid {root}/nginx.pid;\nerror_log {root}/nginx.log error;\nuser root;\n{rest}"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, text).unwrap();
        let child = Command::new(NGINX)
            .args(["-p", folder.to_str().unwrap(), "-c", file.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let process = Owned(child);
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if began.elapsed() > Duration::from_secs(10) {
                println!("nginx: skipped, it does not start: {}", log(folder));
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(Self { process, address })
    }
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("nginx.log")).unwrap_or_default()
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
