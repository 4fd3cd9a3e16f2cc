//! Where a model's files are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::ModelError;

/// The directory of the model: in this order `directory/model`, the Hugging Face cache layout below `directory`
/// (`models--org--name/snapshots/…`, also under `hub`), `directory` itself; without `directory` the model's name as a
/// path.
pub(super) fn find(model: &str, directory: Option<&Path>) -> Result<PathBuf, ModelError> {
    let candidates = match directory {
        None => vec![PathBuf::from(model)],
        Some(directory) => {
            let cached = format!("models--{}", model.replace('/', "--"));
            let caches = [directory.join(&cached), directory.join("hub").join(&cached)];
            let mut candidates = vec![directory.join(model)];
            candidates.extend(caches.iter().filter_map(|cache| snapshot(cache)));
            candidates.push(directory.to_owned());
            candidates
        }
    };
    match candidates.iter().find(|candidate| candidate.join("config.json").is_file()) {
        Some(found) => Ok(found.clone()),
        None => {
            let looked: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
            Err(ModelError::NotThere { model: model.into(), looked: looked.join(", ") })
        }
    }
}

/// The revision that `refs/main` names; without one, the only one there is.
fn snapshot(cache: &Path) -> Option<PathBuf> {
    let snapshots = cache.join("snapshots");
    if let Ok(revision) = fs::read_to_string(cache.join("refs/main")) {
        return Some(snapshots.join(revision.trim()));
    }
    let mut revisions = fs::read_dir(snapshots).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let only = revisions.next()?;
    revisions.next().is_none().then_some(only)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = "cardiffnlp/twitter-roberta-base-sentiment";

    fn put(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_model_is_found_by_name_in_a_cache_and_as_the_directory_itself() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let find = |model| find(model, Some(root)).map(|path| path.strip_prefix(root).unwrap().display().to_string());
        let error = find(MODEL).unwrap_err().to_string();
        assert!(error.contains(MODEL) && error.contains(&root.display().to_string()), "{error}");
        put(root.join("config.json"), "{}");
        assert_eq!(find(MODEL).unwrap(), "");
        let cache = root.join("hub/models--cardiffnlp--twitter-roberta-base-sentiment");
        put(cache.join("snapshots/old/config.json"), "{}");
        assert!(find(MODEL).unwrap().ends_with("snapshots/old"));
        put(cache.join("snapshots/new/config.json"), "{}");
        assert_eq!(find(MODEL).unwrap(), "", "two revisions and no word which");
        put(cache.join("refs/main"), "new\n");
        assert!(find(MODEL).unwrap().ends_with("snapshots/new"));
        put(root.join(MODEL).join("config.json"), "{}");
        assert_eq!(find(MODEL).unwrap(), MODEL);
    }
}
