//! A small image made of busybox.

#![allow(dead_code)]

use bollard::Docker;
use bollard::query_parameters::BuildImageOptionsBuilder;
use futures_util::TryStreamExt;

use crate::engine::{Engine, find};

/// Busybox alone.
pub const PLAIN: &str = "agentd-test:plain";
/// With a health check that passes while `/workspace/well` exists.
pub const CHECKED: &str = "agentd-test:checked";

const APPLETS: &str = "sh cat echo env id ip kill ls mkdir nc printf ps pwd rm sleep stty tail \
                       test touch true tty wc yes dd head tftp setsid grep tr";

const CHECK: &str = r#"HEALTHCHECK --interval=300ms --timeout=10s --retries=1 CMD ["test", "-e", "/workspace/well"]"#;

pub fn client(docker_host: &str) -> Docker {
    Docker::connect_with_host(docker_host).expect("a client of the engine")
}

/// Builds both images.
pub async fn build(engine: &Engine) {
    let docker = client(&engine.docker_host());
    for (tag, check) in [(PLAIN, ""), (CHECKED, CHECK)] {
        let dockerfile = format!("FROM scratch\nCOPY root/ /\nENV PATH=/bin\n{check}\n");
        let options = BuildImageOptionsBuilder::new().t(tag).build();
        let context = bollard::body_full(context(&dockerfile).into());
        let steps = docker.build_image(options, None, Some(context));
        steps
            .try_collect::<Vec<_>>()
            .await
            .expect("building an image");
    }
}

/// A tar with these files.
pub fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        append(&mut tar, path, 0o644, content);
    }
    tar.into_inner().expect("the end of a tar")
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content)
        .expect("a file in a tar");
}

fn context(dockerfile: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "Dockerfile", 0o644, dockerfile.as_bytes());
    append(
        &mut tar,
        "root/etc/passwd",
        0o644,
        b"root:x:0:0::/:/bin/sh\nagent:x:1000:1000::/tmp:/bin/sh\n",
    );
    append(
        &mut tar,
        "root/etc/group",
        0o644,
        b"root:x:0:\nagent:x:1000:\n",
    );
    let busybox = find("busybox").expect("busybox");
    let busybox = std::fs::read(busybox).expect("reading busybox");
    append(&mut tar, "root/bin/busybox", 0o755, &busybox);
    for applet in APPLETS.split_whitespace() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        tar.append_link(&mut header, format!("root/bin/{applet}"), "busybox")
            .expect("a link in a tar");
    }
    for directory in ["root/tmp/", "root/workspace/"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o1777);
        tar.append_data(&mut header, directory, std::io::empty())
            .expect("a directory in a tar");
    }
    tar.into_inner().expect("the end of a tar")
}
