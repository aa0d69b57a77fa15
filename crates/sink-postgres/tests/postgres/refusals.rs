//! Faults that do not pass: the pipeline stops and says what to do.

use tailwater_model::{Failure, Position, Sink, TroubleKind};
use tailwater_sink_postgres::claim;

use crate::ground::{after, batch, group, id_key, identity, in_database, put, settings};

#[tokio::test]
async fn what_was_taken_away_stops_the_lane_with_advice() {
    in_database(|database| async move {
        let (role, url) = database.role().await;
        database.lane(&database.settings(), &id_key()).await;
        let grant = format!(
            "grant usage on schema tailwater, public to {role}; grant select, insert, update, delete on all tables in schema tailwater, public to {role}"
        );
        let revoke = format!("revoke insert on orders from {role}");
        for (taken, given_back, code) in [
            (revoke.as_str(), grant.as_str(), "sink.postgres.denied"),
            ("alter table orders rename to elsewhere", "alter table elsewhere rename to orders", "sink.postgres.object_missing"),
            ("alter table orders rename _op to op", "alter table orders rename op to _op", "sink.postgres.object_missing"),
            ("alter table orders drop constraint orders_pkey", "alter table orders add primary key (\"Id\")", "sink.postgres.statement"),
        ] {
            database.run(&format!("{grant}; delete from tailwater.shards; delete from tailwater.targets")).await;
            let mut lane = database.ready_lane(&settings(&url), &id_key()).await;
            database.run(taken).await;
            let answer = lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await;
            let Err(Failure::Halt(trouble)) = answer else { panic!("{taken}: {answer:?}") };
            assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, code), "{trouble:?}");
            assert!(trouble.advice.is_some() && !format!("{trouble:?}").contains("hunter2"), "{trouble:?}");
            assert_eq!(database.text("select position from tailwater.shards").await, "start");
            database.run(given_back).await;
            assert_eq!(lane.open().await.expect("opens").shards[0].position, Position::Start);
            lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("commits");
        }
    })
    .await;
}

#[tokio::test]
async fn a_password_that_was_changed_stops_the_lane() {
    in_database(|database| async move {
        let (role, url) = database.role().await;
        database
            .run(&format!(
                "grant create on database {} to {role}; grant create on schema public to {role}",
                database.name()
            ))
            .await;
        let mut lane = database.ready_lane(&settings(&url), &id_key()).await;
        database.run(&format!("alter role {role} password 'hunter3'")).await;
        let opened = lane.open().await;
        let Err(Failure::Halt(trouble)) = &opened else { panic!("{opened:?}") };
        assert_eq!(trouble.code, "sink.postgres.login");
        assert!(!format!("{trouble:?}").contains("hunter"));
    })
    .await;
}

/// RFC 4013 (SASLprep) maps and refuses characters; the driver asks for it, and psql does without where it fails.
#[tokio::test]
async fn a_password_may_have_all_characters_but_those_that_the_login_cannot_take() {
    in_database(|database| async move {
        let (role, url) = database.role().await;
        let at = url.split_once('@').expect("a host").1;
        database
            .run(&format!(
                "grant create on database {} to {role}; grant create on schema public to {role}",
                database.name()
            ))
            .await;
        let settings_with = |password: &str| {
            let password = percent_encoding::utf8_percent_encode(password, percent_encoding::NON_ALPHANUMERIC);
            settings(&format!("postgres://{role}:{password}@{at}"))
        };
        let change = |password: &str| format!("alter role {role} password '{}'", password.replace('\'', "''"));
        for password in [" /#?@%:&=+ '\"\\$$`~;,[]{}|^<>", "é ß ﬁ ½ Ａ\u{a0}\u{ad}x", "密码 пароль", "سر", "a+b c%20d"]
        {
            database.run(&change(password)).await;
            database.lane(&settings_with(password), &id_key()).await;
        }
        for (password, character) in
            [("key🔑", "🔑"), ("tab\tkey", "\t"), ("one\u{1}", "\u{1}"), ("abcאבג", "א"), ("p\u{e000}", "\u{e000}")]
        {
            database.run(&change(password)).await;
            let trouble =
                claim(&settings_with(password), &identity(1), &id_key()).await.map(drop).expect_err("is refused");
            assert_eq!((trouble.kind, trouble.code), (TroubleKind::Config, "sink.postgres.password"), "{trouble:?}");
            let told = format!("{trouble} {:?}", trouble.advice);
            assert!(told.contains("`password`") && !told.contains(character) && !told.contains("Prohibited"), "{told}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_postgres_is_told() {
    use std::io::{Read, Write};
    let web = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let port = web.local_addr().expect("has a port").port();
    let answers = std::thread::spawn(move || {
        let (mut client, _) = web.accept().expect("a client");
        let _asked = client.read(&mut [0; 64]).expect("is asked");
        client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("answers");
    });
    let url = format!("postgres://u:p@127.0.0.1:{port}/d");
    let trouble = claim(&settings(&url), &identity(1), &id_key()).await.map(drop).expect_err("is no Postgres");
    answers.join().expect("no panic");
    assert_eq!(trouble.code, "sink.postgres.connection", "{trouble:?}");
    assert!(trouble.advice.as_ref().is_some_and(|advice| advice.contains("host and port")), "{trouble:?}");
}

#[tokio::test]
async fn a_position_that_nobody_wrote_is_not_guessed() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        database.run("update tailwater.shards set position = 'somewhere'").await;
        let opened = lane.open().await;
        let Err(Failure::Halt(trouble)) = &opened else { panic!("{opened:?}") };
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::DataAtRisk, "sink.progress_unreadable"));
    })
    .await;
}
