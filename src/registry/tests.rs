//! The client against a server that answers as it is told: what passes, what is final, and what is sent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::*;

const CLICK: &str = r#"{"type":"record","name":"Click","fields":[{"name":"type","type":"string"},{"name":"event_time","type":"long"}]}"#;

/// Answers one connection after the other with these (status line and body; an empty one breaks off), and tells what was asked.
fn server(answers: Vec<(&'static str, String)>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/apis/ccompat/v7/", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        answers
            .into_iter()
            .map(|(status, body)| {
                let (stream, _) = listener.accept().unwrap();
                let asked = read(&stream);
                if !status.is_empty() {
                    let length = body.len();
                    write!(
                        &stream,
                        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}"
                    )
                    .unwrap();
                }
                asked
            })
            .collect()
    });
    (address, thread)
}

/// One request: its head and its body.
fn read(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(told) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = told.trim().parse().unwrap();
        }
        text.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    text + &String::from_utf8(body).unwrap()
}

fn schema(text: &str) -> String {
    serde_json::json!({ "schema": text }).to_string()
}

fn refusal(code: u32) -> String {
    serde_json::json!({ "error_code": code, "message": "so it is" }).to_string()
}

fn client(url: &str, login: Login) -> Client {
    let settings = Settings {
        url: url.to_owned(),
        login,
        ca: None,
    };
    Client::new(&settings).unwrap()
}

fn wait<T>(asked: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(asked)
}

/// What one question to a server with this answer ends with.
fn asked(status: &'static str, body: String) -> Result<Writer, RegistryError> {
    let (url, thread) = server(vec![(status, body)]);
    let answer = wait(client(&url, Login::None).writer(SchemaId::Number(7)));
    let asked = thread.join().unwrap();
    assert!(
        asked[0].starts_with("GET /apis/ccompat/v7/schemas/ids/7 HTTP/1.1\r\n"),
        "{asked:?}"
    );
    answer
}

#[test]
fn only_the_registrys_own_word_makes_a_not_found_final() {
    assert!(asked("200 OK", schema(CLICK)).unwrap().is_found());
    let protobuf = r#"{"schemaType":"PROTOBUF","schema":"message A {}"}"#;
    assert!(asked("200 OK", protobuf.to_owned()).unwrap().is_found());
    let gone = asked("404 Not Found", refusal(40_403)).unwrap_err();
    assert!(matches!(gone, RegistryError::NotFound { .. }) && !gone.may_pass());
    for (status, body) in [
        ("404 Not Found", "<html>no such page</html>".to_owned()),
        ("404 Not Found", refusal(404)),
        ("500 Internal Server Error", refusal(50_001)),
        ("401 Unauthorized", refusal(40_101)),
        ("429 Too Many Requests", String::new()),
        ("200 OK", "{}".to_owned()),
        ("", String::new()),
    ] {
        let error = asked(status, body).err().unwrap();
        assert!(error.may_pass(), "{status}: {error}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let client = client(&format!("http://{nobody}"), Login::None);
    let error = wait(client.writer(SchemaId::Number(7))).err().unwrap();
    assert!(error.may_pass(), "{error}");
}

#[test]
fn a_login_is_sent_and_never_shown() {
    let basic = Login::Basic {
        user: "shop".to_owned(),
        password: "sesame".to_owned(),
    };
    let bearer = Login::Bearer("sesame".to_owned());
    for (login, sent) in [
        (basic, "authorization: Basic c2hvcDpzZXNhbWU=\r\n"),
        (bearer, "authorization: Bearer sesame\r\n"),
    ] {
        let (url, thread) = server(vec![("401 Unauthorized", "sesame".to_owned())]);
        let shown = format!("{login:?}");
        let error = wait(client(&url, login).subjects()).unwrap_err();
        assert!(thread.join().unwrap()[0].contains(sent));
        assert!(!format!("{shown} {error} {error:?}").contains("sesame"));
    }
    let broken = Settings {
        url: "http://r:1".to_owned(),
        login: Login::Bearer("line\nbreak".to_owned()),
        ca: None,
    };
    assert!(matches!(Client::new(&broken), Err(RegistryError::Login)));
}

#[test]
fn references_are_fetched_each_before_those_that_need_it() {
    let record = |name: &str, kind: &str| {
        format!(
            r#"{{"type":"record","name":"{name}","fields":[{{"name":"type","type":"string"}},{{"name":"event_time","type":"long"}},{{"name":"more","type":"{kind}"}}]}}"#
        )
    };
    let with = |text: String, subject: &str| {
        serde_json::json!({ "schema": text, "references": [{ "name": subject, "subject": subject, "version": 3 }] }).to_string()
    };
    let (url, thread) = server(vec![
        ("200 OK", with(record("A", "B"), "B x")),
        ("200 OK", with(record("B", "C"), "C")),
        ("200 OK", schema(&record("C", "int"))),
    ]);
    let writer = wait(client(&url, Login::None).writer(SchemaId::Number(1))).unwrap();
    let asked = thread.join().unwrap();
    assert!(
        asked[1].starts_with("GET /apis/ccompat/v7/subjects/B%20x/versions/3 "),
        "{asked:?}"
    );
    assert!(!format!("{writer:?}").contains("Unreadable"), "{writer:?}");
}

#[test]
fn a_registry_that_knows_no_guids_says_so_by_what_else_it_answers() {
    let guid = SchemaId::Guid([1; 16]);
    let (url, thread) = server(vec![
        ("404 Not Found", String::new()),
        ("200 OK", "[]".to_owned()),
    ]);
    let answer = wait(client(&url, Login::None).writer(guid));
    assert!(matches!(answer, Err(RegistryError::NotFound { .. })));
    assert!(
        thread.join().unwrap()[0].contains("/schemas/guids/01010101-0101-0101-0101-010101010101 ")
    );
    let wrong = vec![
        ("404 Not Found", String::new()),
        ("404 Not Found", String::new()),
    ];
    let (url, _thread) = server(wrong);
    assert!(
        wait(client(&url, Login::None).writer(guid))
            .err()
            .unwrap()
            .may_pass()
    );
}

#[test]
fn registering_gives_the_id_or_what_stands_against_it() {
    let refused = refusal(409);
    let (url, thread) = server(vec![
        ("200 OK", r#"{"id":12}"#.to_owned()),
        ("409 Conflict", refused),
    ]);
    let client = client(&url, Login::None);
    assert_eq!(wait(client.register("clicks-value", CLICK)).unwrap(), 12);
    let error = wait(client.register("clicks-value", CLICK)).unwrap_err();
    assert!(
        error.to_string().contains("clicks-value") && error.to_string().contains("so it is"),
        "{error}"
    );
    let asked = thread.join().unwrap();
    assert!(
        asked[0].starts_with("POST /apis/ccompat/v7/subjects/clicks-value/versions "),
        "{asked:?}"
    );
    assert!(asked[0].contains(r#""schemaType":"AVRO""#), "{asked:?}");
}

/// Asks for these one after the other, each answered before the next; gives the metrics.
fn told_of(url: &str, ids: impl IntoIterator<Item = u32>) -> String {
    let telemetry = Telemetry::new("shop", "0");
    let desk = start(client(url, Login::None), &telemetry).unwrap();
    let mut number = 0;
    for id in ids.into_iter().map(SchemaId::Number) {
        // Asking again while the question is open changes nothing.
        desk.ask(id);
        desk.ask(id);
        while !desk
            .newer_than(&mut number)
            .is_some_and(|known| known.knows(id))
        {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    telemetry.render().unwrap()
}

#[test]
fn an_id_is_asked_for_once_and_again_until_there_is_an_answer() {
    let (url, thread) = server(vec![
        ("503 Service Unavailable", String::new()),
        ("404 Not Found", refusal(40_403)),
        ("200 OK", schema(CLICK)),
    ]);
    let metrics = told_of(&url, [7]);
    assert_eq!(thread.join().unwrap().len(), 3);
    for line in ["answered\"} 1", "failed\"} 1", "not_found\"} 1"] {
        let line = format!("tidegate_registry_requests_total{{outcome=\"{line}");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[test]
fn a_not_found_is_believed_when_it_is_said_again_and_at_once_when_there_are_many() {
    let not_found = ("404 Not Found", refusal(40_403));
    let doubted = usize::try_from(MOST_DOUBTED * SURE).unwrap();
    let (url, thread) = server(vec![not_found; doubted + 2]);
    let metrics = told_of(&url, 0..MOST_DOUBTED + 2);
    assert!(!metrics.contains("answered\"} 1"), "{metrics}");
    let asked = thread.join().unwrap();
    let times = |id: usize| {
        let path = format!("/schemas/ids/{id} ");
        asked.iter().filter(|asked| asked.contains(&path)).count()
    };
    assert_eq!([times(0), times(2), times(3), times(4)], [5, 5, 1, 1]);
}

#[test]
fn pauses_grow_to_a_bound_and_differ() {
    let pause = |id, attempt| Client::pause(SchemaId::Number(id), attempt);
    assert!(pause(1, 0) >= FIRST_PAUSE / 2 && pause(1, 0) <= FIRST_PAUSE);
    assert!(pause(1, 40) >= LONGEST_PAUSE / 2 && pause(1, u32::MAX) <= LONGEST_PAUSE);
    assert!((1..9).any(|id| pause(id, 40) != pause(0, 40)));
}
