use super::*;

#[test]
fn a_spec_reads_as_it_is_written() {
    let mut spec =
        PipelineSpec::new("a.lp?precision=s", "postgres://u@h/db").with_job("nightly").with_jobs(4);
    spec.max_errors = "0.5%".parse().unwrap();
    spec.errors = "reject:bad.jsonl".parse().unwrap();
    spec.transforms = vec!["cast:n=i32".parse().unwrap(), "rename-table:prefix:raw_".parse().unwrap()];
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<PipelineSpec>(&text).unwrap(), spec);
    assert!(serde_json::from_str::<PipelineSpec>(r#"{"from":"a","to":"b","jbos":2}"#).is_err());
}

#[test]
fn the_job_is_known_by_what_it_does() {
    let spec = PipelineSpec::new("a.lp", "postgres://u:secret@h/db");
    let id = spec.job_id().unwrap();
    assert_eq!(PipelineSpec::new("a.lp", "postgres://u:other@h/db").job_id().unwrap(), id);
    assert_ne!(PipelineSpec::new("b.lp", "postgres://u:secret@h/db").job_id().unwrap(), id);
    // More patience does not make it another one; another table does.
    let patient = "postgres://u@h/db?lock_timeout=5m&sslmode=require";
    assert_eq!(PipelineSpec::new("a.lp?batch_rows=10", patient).job_id().unwrap(), id);
    assert_ne!(PipelineSpec::new("a.lp", "postgres://u@h/db?table=t").job_id().unwrap(), id);
    let tagged = spec.clone().with_transform("add-tag:a=b".parse().unwrap());
    assert_ne!(tagged.job_id().unwrap(), id);
    assert_eq!(spec.with_job("x").job_id().unwrap().as_str(), "x");
}

#[test]
fn no_secret_is_shown() {
    let spec = PipelineSpec::new("kafka://u:hunter2@h/t", "postgres://u:hunter2@[bad");
    assert!(!format!("{spec:?}").contains("hunter2"), "{spec:?}");
}

#[test]
fn transforms_read_as_they_are_written_and_faults_name_the_form() {
    let variables = |name: &str| (name == "HASH_KEY").then(|| "k".to_owned());
    let (job, expand) = (JobId::new("j"), Expand::with_variables(&variables));
    let context = TransformContext { job: &job, database: None, expand: &expand };
    for text in [
        "add-tag:a=b=c",
        "add-column:a=",
        "drop-columns:a,b",
        "select-columns:a",
        "rename-column:a=b",
        "cast:a=varchar(3)",
        "filter:usage > 0.5 AND host = 'a=b:c'",
        "compute:ratio=used / total",
        "mask:phone=***",
        "mask:card=last:4",
        "mask:name=first:1",
        "hash:email",
        "hash:email=${HASH_KEY}",
        "merge-tables:orders=source",
        "rename-table:prefix:x",
        "rename-table:suffix:y",
        "rename-table:template:a_{table}_b",
        "rename-child-table:template:{stable}_{old}",
        r"rename-super-table:replace_with_regex:^a(?<rest>\d*)::b${rest}:c",
        "name-columns:a,b",
        "set-role:primary_tag=a,b",
        r#"name-columns:["a,b"," c"]"#,
    ] {
        let spec: TransformSpec = text.parse().unwrap();
        assert_eq!(spec.to_string(), text);
        spec.build(&context).unwrap();
    }
    let absent: TransformSpec = "hash:email=${NO_KEY}".parse().unwrap();
    assert!(absent.build(&context).unwrap_err().report().contains("NO_KEY"));
    for (text, wanted) in [
        ("add-tag", "add-tag:NAME=VALUE"),
        ("add-tag:=x", "add-tag:NAME=VALUE"),
        ("cast:a=foo", "bigint"),
        ("drop-columns:", "drop-columns:A,B"),
        ("rename-table:x", "prefix:TEXT"),
        ("rename-table:template:{name}", "{table}"),
        ("rename-table:prefix:", "no text"),
        ("rename-table:replace_with_regex:^a", "lacks `::`"),
        ("rename-table:replace_with_regex:^(a::b", "unclosed group"),
        ("rename-child-table:replace_with_regex:^a(?<old>.*)::b_$old_x", "write ${old}_x"),
        ("rename-child-table:replace_with_regex:^a(?<old>.*)::b_$new", "it has: old"),
        ("name-columns:a,,b", "no empty one"),
        ("name-columns:a,b,a", "twice"),
        ("name-columns:[1]", "name-columns:A,B"),
        ("set-role:tags=a", "primary_tag"),
        ("set-role:tag", "set-role:tag=A,B"),
        ("set-role:tag=a,,b", "no empty name"),
        ("uppercase", "add-tag"),
        ("fliter:a = 1", "did you mean `filter`?"),
        ("filter:", "filter:usage"),
        ("filter:a >", "is no expression"),
        ("compute:a", "compute:NAME=EXPRESSION"),
        ("compute:a=lenght(b)", "did you mean `length`?"),
        ("mask:", "mask:COLUMN"),
        ("mask:card=last:x", "no number of characters"),
        ("hash:=k", "hash:COLUMN"),
        ("merge-tables:", "merge-tables:TABLE"),
    ] {
        let report = text.parse::<TransformSpec>().unwrap_err().report();
        assert!(report.contains(wanted), "{text}: {report}");
    }
}

#[test]
fn the_key_of_a_hash_is_not_shown() {
    let spec = PipelineSpec::new("a.lp", "file:out").with_transform("hash:email=hunter2".parse().unwrap());
    assert!(!format!("{spec:?} {}", spec.transforms[0]).contains("hunter2"), "{spec:?}");
    // A file with the job holds it, or the job could not be read again.
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<PipelineSpec>(&text).unwrap(), spec);
    let other = PipelineSpec::new("a.lp", "file:out").with_transform("hash:email=other".parse().unwrap());
    assert_eq!(spec.job_id().unwrap(), other.job_id().unwrap(), "a secret makes no other job");
}
