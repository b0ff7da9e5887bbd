use super::*;
use crate::ErrorKind;

fn state(generation: u64) -> JobState {
    let mut state = JobState::new(JobId::new("a job/of mine"));
    state.generation = generation;
    let split: Arc<str> = "f#0".into();
    let checkpoint = Checkpoint::start(state.job.clone(), Arc::clone(&split), generation)
        .next(SplitPosition(serde_json::json!({"byte": 7})), false);
    state.checkpoints.insert(split, checkpoint);
    state
}

#[tokio::test]
async fn a_state_is_kept_as_a_whole_and_fences_older_runs() {
    let dir = tempfile::tempdir().unwrap();
    let stores: [Box<dyn CheckpointStore>; 2] =
        [Box::new(FileStore::new(dir.path().join("deep/er"))), Box::new(MemoryStore::default())];
    for store in stores {
        let job = JobId::new("a job/of mine");
        assert_eq!(store.load(&job).await.unwrap(), None);
        store.save(&state(2)).await.unwrap();
        assert_eq!(store.load(&job).await.unwrap(), Some(state(2)));
        assert_eq!(store.save(&state(1)).await.unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(store.load(&job).await.unwrap(), Some(state(2)));
        store.remove(&job).await.unwrap();
        store.remove(&job).await.unwrap();
        assert_eq!(store.load(&job).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_damaged_file_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::new(dir.path());
    let job = JobId::new("x");
    std::fs::write(store.path(&job), b"{").unwrap();
    let error = store.load(&job).await.unwrap_err();
    assert!(error.report().contains("--restart"), "{}", error.report());
}
