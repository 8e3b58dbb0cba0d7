use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::tidy::files;
use crate::tool::{self, root, say};
use crate::{Result, tidy};

/// Where the tests in a browser leave their pictures, and what those end with that the site has.
const PICTURES: (&str, &str) = ("host/ui/shots", "-desk-light.png");

/// Builds the documentation as a site into `target/docs`.
pub fn run() -> Result {
    prepare()?;
    tool::run(&mut command())?;
    say("built in target/docs");
    Ok(())
}

/// Whether there is a Python that can make an environment, for which Debian has a package of its own.
pub fn is_possible() -> bool {
    let mut python = Command::new("python3");
    python
        .args(["-c", "import ensurepip"])
        .stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

/// Installs what builds the site, and lays out its pages.
pub fn prepare() -> Result {
    if !is_possible() {
        return Err("Python is not here\nhint: apt-get install python3-venv".to_owned());
    }
    install()?;
    let pages = root().join("target/docs-pages");
    lay_out(&pages).map_err(|error| format!("laying out `{}`: {error}", pages.display()))
}

/// Builds it; a dead link is a failure, and so is a document that the site's navigation has not.
pub fn command() -> Command {
    let mut mkdocs = Command::new(environment().join("bin/mkdocs"));
    mkdocs.args(["build", "--strict", "--config-file"]);
    mkdocs.arg(root().join("host/docs/mkdocs.yml"));
    // What it has to say about its own versions is for who chooses one.
    mkdocs.env("NO_MKDOCS_2_WARNING", "1");
    // Nothing beside the sources.
    mkdocs.env("PYTHONDONTWRITEBYTECODE", "1");
    mkdocs.current_dir(root());
    mkdocs
}

fn environment() -> PathBuf {
    root().join("target/docs-python")
}

/// Anew when the list has changed.
fn install() -> Result {
    let list = root().join("host/docs/requirements.txt");
    let wanted = tidy::read(&list)?;
    let installed = environment().join("requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let mut python = Command::new("python3");
    tool::run(python.args(["-m", "venv", "--clear"]).arg(environment()))?;
    let mut pip = Command::new(environment().join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
    pip.arg("--disable-pip-version-check");
    tool::run(pip.arg("--requirement").arg(&list))?;
    fs::write(&installed, wanted)
        .map_err(|error| format!("writing `{}`: {error}", installed.display()))
}

/// Links to the documents, each at its path in the repository: what one of them links to is then the
/// same in both places. A page is made that shows the pictures that there are.
fn lay_out(pages: &Path) -> io::Result<()> {
    if pages.exists() {
        fs::remove_dir_all(pages)?;
    }
    let link = |file: &Path| {
        let page = pages.join(file);
        fs::create_dir_all(page.parent().unwrap_or(pages))?;
        symlink(root().join(file), page)
    };
    let all = files::files(root()).map_err(io::Error::other)?;
    all.iter()
        .filter(|file| is_page(file) && root().join(file).is_file())
        .try_for_each(|file| link(file))?;
    let pictures = pictures()?;
    pictures
        .iter()
        .try_for_each(|picture| link(&Path::new(PICTURES.0).join(picture)))?;
    fs::write(pages.join("host/docs/pictures.md"), gallery(&pictures))
}

/// Documents and what they let one fetch; a README among sources or tests is for who is there.
fn is_page(file: &Path) -> bool {
    let is_document = file.extension().is_some_and(|ending| ending == "md");
    let is_beside_sources = file.iter().any(|part| part == "src" || part == "tests");
    (is_document && !is_beside_sources) || file == Path::new("host/docs/grafana.json")
}

fn pictures() -> io::Result<Vec<String>> {
    let (folder, ending) = PICTURES;
    let folder = root().join(folder);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(ending) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn gallery(pictures: &[String]) -> String {
    let mut page = "# Pictures\n\nOf the page, as the tests in a browser saw it last where this site was built \
                    (`cargo xtask test --only browser`).\n"
        .to_owned();
    if pictures.is_empty() {
        page.push_str("They have not been run there.\n");
    }
    for picture in pictures {
        let name = picture.trim_end_matches(PICTURES.1).replace('-', ": ");
        page.push_str(&format!(
            "\n## {name}\n\n![{name}](../ui/shots/{picture})\n"
        ));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_pages_where_they_are_for_readers() {
        let is_page = |file: &str| is_page(Path::new(file));
        assert!(is_page("README.md") && is_page("plugins/swarm/README.md"));
        assert!(is_page("host/docs/grafana.json"));
        assert!(!is_page("host/cli/src/backend/new/README.md"));
        assert!(!is_page("host/docs/mkdocs.yml"));
    }

    #[test]
    fn the_gallery_shows_what_there_is() {
        let page = gallery(&["pty-agents-desk-light.png".to_owned()]);
        assert!(page.contains("## pty: agents\n"), "{page}");
        assert!(page.contains("(../ui/shots/pty-agents-desk-light.png)"));
        assert!(gallery(&[]).contains("have not been run"));
    }
}
