//! The fuzz targets: each source file is built, and starts from seeds.

use crate::Violation;
use crate::files::File;

const MANIFEST: &str = "fuzz/Cargo.toml";

/// Every file of `fuzz/fuzz_targets/` stands in the manifest and has a folder of seeds.
pub(crate) fn check(files: &[File]) -> Vec<Violation> {
    let manifest = files.iter().find(|file| file.path == MANIFEST).map_or("", |file| file.text.as_str());
    let name = |file: &File| Some(file.path.strip_prefix("fuzz/fuzz_targets/")?.strip_suffix(".rs")?.to_owned());
    files.iter().filter_map(name).flat_map(|target| missing(&target, manifest, files)).collect()
}

fn missing(target: &str, manifest: &str, files: &[File]) -> Vec<Violation> {
    let built = manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\""));
    let seeded = files.iter().any(|file| file.path.starts_with(&format!("fuzz/seeds/{target}/")));
    let mut missing = Vec::new();
    if !built {
        missing.push(format!("fuzz target {target} is not in {MANIFEST}: it would never run"));
    }
    if !seeded {
        missing.push(format!("fuzz/seeds/{target}/ is empty: half a minute from nothing reaches little"));
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_not_built_or_not_seeded_is_caught() {
        let target = File::planted("fuzz/fuzz_targets/ttl.rs", "");
        let manifest = File::planted(MANIFEST, "path = \"fuzz_targets/ttl.rs\"");
        let seed = File::planted("fuzz/seeds/ttl/one", "60");
        assert_eq!(check(std::slice::from_ref(&target)).len(), 2);
        assert_eq!(check(&[target.clone(), manifest.clone()]).len(), 1);
        assert!(check(&[target, manifest, seed]).is_empty());
    }
}
