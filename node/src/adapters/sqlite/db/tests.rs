use rookery_actors::ports::PortError;
use tempfile::TempDir;

use super::Db;

fn open(dir: &TempDir) -> Db {
    let schema = "CREATE TABLE IF NOT EXISTS t(x INTEGER PRIMARY KEY)";
    Db::open(&dir.path().join("test.db"), |connection| {
        connection.execute_batch(schema)
    })
    .unwrap()
}

async fn count(db: &Db) -> i64 {
    db.read(|c| c.query_row("SELECT count(*) FROM t", [], |row| row.get(0)))
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_answered_is_read() {
    let dir = TempDir::new().unwrap();
    let db = open(&dir);
    db.write(|t| t.execute("INSERT INTO t VALUES (1)", [])).await.unwrap();
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn a_job_that_fails_undoes_itself_alone() {
    let dir = TempDir::new().unwrap();
    let db = open(&dir);
    let jobs = (0..50).map(|n| {
        let db = db.clone();
        async move {
            db.write(move |t| {
                t.execute("INSERT INTO t VALUES (?1)", [n])?;
                if n % 2 == 0 {
                    t.execute("INSERT INTO t VALUES (?1)", [n])?;
                }
                Ok(())
            })
            .await
        }
    });
    let outcomes = futures_util::future::join_all(jobs).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 25);
    assert_eq!(count(&db).await, 25);
}

#[tokio::test]
async fn a_panic_in_a_job_or_a_query_is_answered_and_survived() {
    let dir = TempDir::new().unwrap();
    let db = open(&dir);
    let panicked = db
        .write(|t| -> rusqlite::Result<()> {
            t.execute("INSERT INTO t VALUES (1)", [])?;
            panic!("on purpose")
        })
        .await;
    assert!(matches!(panicked, Err(PortError::Broken(_))));
    let panicked = db.read(|_| -> rusqlite::Result<()> { panic!("on purpose") }).await;
    assert!(matches!(panicked, Err(PortError::Broken(_))));
    assert_eq!(count(&db).await, 0);
    db.write(|t| t.execute("INSERT INTO t VALUES (2)", [])).await.unwrap();
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn a_transaction_that_cannot_be_opened_is_answered_with_the_reason() {
    let dir = TempDir::new().unwrap();
    let db = open(&dir);
    // A job that ends the transaction takes away everybody's: all of them must hear of it.
    let broken = db.write(|t| t.execute_batch("ROLLBACK")).await;
    assert!(matches!(broken, Err(PortError::Unavailable(_))), "{broken:?}");
    db.write(|t| t.execute_batch("PRAGMA query_only = ON")).await.unwrap();
    let refused = db.write(|t| t.execute("INSERT INTO t VALUES (1)", [])).await;
    assert!(matches!(refused, Err(PortError::Broken(_))), "{refused:?}");
}

#[tokio::test]
async fn a_full_file_refuses_writes_and_takes_them_again_when_there_is_room() {
    let dir = TempDir::new().unwrap();
    let db = open(&dir);
    db.write(|t| t.execute_batch("CREATE TABLE big(x BLOB); PRAGMA max_page_count = 20"))
        .await
        .unwrap();
    let fill = |t: &rusqlite::Transaction<'_>| t.execute("INSERT INTO big VALUES (zeroblob(200000))", []);
    let small = |t: &rusqlite::Transaction<'_>| t.execute("INSERT INTO t VALUES (7)", []);
    let (full, kept) = futures_util::join!(db.write(fill), db.write(small));
    assert!(matches!(full, Err(PortError::Unavailable(_))), "{full:?}");
    assert_eq!(count(&db).await, i64::from(kept.is_ok()));
    db.write(|t| t.execute_batch("PRAGMA max_page_count = 100000"))
        .await
        .unwrap();
    db.write(fill).await.unwrap();
}

#[tokio::test]
async fn the_last_handle_finishes_what_waits() {
    let dir = TempDir::new().unwrap();
    let db = open(&dir);
    let mut writes = tokio::task::JoinSet::new();
    for n in 0..100 {
        let db = db.clone();
        writes.spawn(async move { db.write(move |t| t.execute("INSERT INTO t VALUES (?1)", [n])).await });
    }
    drop(db);
    while let Some(done) = writes.join_next().await {
        done.unwrap().unwrap();
    }
    drop(writes);
    assert_eq!(count(&open(&dir)).await, 100);
}
