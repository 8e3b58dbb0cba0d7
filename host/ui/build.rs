//! Tells cargo when to embed again.

fn main() {
    // A path that is missing would make cargo run this at every build, so
    // without a `dist` the whole folder is watched for one to appear.
    let watched = if std::path::Path::new("dist").exists() {
        "dist"
    } else {
        "."
    };
    println!("cargo:rerun-if-changed={watched}");
}
