"""Redactor, the log for machines, and numbers in words."""

from __future__ import annotations

import base64
import io
import json
import logging
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.observers.story import SERVICE, Story, revision
from watcher.observers import humanize
from watcher.observers.events import (
    BuildFinished,
    BuildOutcome,
    BuildStepStarted,
    Change,
    ContainerOutput,
    DesiredChanged,
    Event,
    Failure,
    FrontExchange,
)
from watcher.observers.json_log import JsonFormatter, JsonLog, configure_logging, name_event
from watcher.observers.redact import HIDDEN, Mask, Redactor
from watcher.observers.secrets import secret_values
from watcher.observers.status_board import StatusBoard


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


def masked(event: Event, *secrets: str) -> Any:
    heard = Heard()
    Redactor(heard, secrets).notify(event)
    return heard.events[0]


def test_a_known_secret_is_hidden_wherever_it_stands() -> None:
    failure = Failure("build", "token s3cr3t-value is bad", ("x", "curl -H s3cr3t-value"))
    event = BuildFinished(revision="r", outcome=BuildOutcome.FAILED, seconds=1.0, failure=failure)
    hidden = masked(event, "s3cr3t-value")
    assert hidden.failure.summary == f"token {HIDDEN} is bad"
    assert hidden.failure.lines == ("x", f"curl -H {HIDDEN}")
    assert hidden.outcome is BuildOutcome.FAILED


def test_a_secret_inside_a_longer_one_does_not_show_the_rest() -> None:
    assert Mask(["abcdef", "abcdefghi"]).mask_text("x abcdefghi y") == f"x {HIDDEN} y"


def test_a_short_secret_is_hidden_where_it_is_a_word_and_an_ordinary_word_stays() -> None:
    assert (
        Mask(["x7q", ""]).mask_text("x7q x7q,(x7q) ax7q x7qb x7q")
        == f"{HIDDEN} {HIDDEN},({HIDDEN}) ax7q x7qb {HIDDEN}"
    )
    assert Mask(["dev", "80", "9000", ""]).mask_text("ENV=dev :9000 80") == "ENV=dev :9000 80"


@pytest.mark.parametrize("before", ["", "u:", "us:", "user:", "{"])
@pytest.mark.parametrize("secret", ["hunter2", "p/w+?ü", "correct horse battery", 'a"b\\c"d'])
def test_a_secret_is_hidden_in_the_forms_that_programs_give_it(before: str, secret: str) -> None:
    mask = Mask([secret])
    data = (before + secret + "@db").encode()
    for form in (
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
        quote(secret, safe=""),
        json.dumps(secret),
        repr(secret),
    ):
        shown = mask.mask_text(f"x {form} y")
        assert HIDDEN in shown
        assert len(shown) < len(form) + 4 + len(HIDDEN)


@given(
    st.binary(max_size=9),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=6),
    st.binary(max_size=9),
)
def test_of_a_secret_in_base64_a_character_at_each_end_is_left_at_most(
    a: bytes, secret: str, b: bytes
) -> None:
    text = base64.b64encode(a + secret.encode() + b).decode()
    shown = Mask([secret]).mask_text(text)
    left, hidden, right = shown.partition(HIDDEN)
    assert hidden
    assert len(left) + len(right) <= len(text) - (len(secret.encode()) * 8 // 6 - 2)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://joe:hunter2@proxy.example/x", f"https://joe:{HIDDEN}@proxy.example/x"),
        ("tcp://:pass@host:2375", f"tcp://:{HIDDEN}@host:2375"),
        ("http://localhost:9000/a@b", "http://localhost:9000/a@b"),
        ("Authorization: Bearer abcdef123456", f"Authorization: Bearer {HIDDEN}"),
        ("authorization: basic am9lOmh1bnRlcjI=", f"authorization: basic {HIDDEN}"),
        ("a basic example", "a basic example"),
        ("app:hunter2@tcp(db:3306)/shop?parseTime=true", f"app:{HIDDEN}@tcp(db:3306)/shop?parseTime=true"),
        ("dsn app:hun:ter2@unix(/run/db.sock)/x", f"dsn app:hun:{HIDDEN}@unix(/run/db.sock)/x"),
        ("root:hunter2@/shop", f"root:{HIDDEN}@/shop"),
        ("host=db user=app password=hunter2 dbname=x", f"host=db user=app password={HIDDEN} dbname=x"),
        ("host=db PGPASSWORD='hun ter2' x", f"host=db PGPASSWORD={HIDDEN} x"),
        ('{"user":"joe","password":"hun ter2"}', f'{{"user":"joe","password":"{HIDDEN}"}}'),
        ("postgres://joe:p@ss@db/shop", f"postgres://joe:{HIDDEN}@db/shop"),
        ("https://abcdefghij0123456789@git.example/x", f"https://{HIDDEN}@git.example/x"),
        ("https://git@github.com/x", "https://git@github.com/x"),
        ("go build -X main.apiKey=abc -o app", f"go build -X main.apiKey={HIDDEN} -o app"),
        (f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{'s' * 20}", HIDDEN),
        (f"remote: ghp_{'a1' * 18} is bad", f"remote: {HIDDEN} is bad"),
        ("golang:1.26@sha256:abc123", "golang:1.26@sha256:abc123"),
        ("mod v1.2.3: go.sum: h1:abc@def", "mod v1.2.3: go.sum: h1:abc@def"),
        ("main.go:3:5: token := 1", "main.go:3:5: token := 1"),
        ("main.go:3:5: undefined: x", "main.go:3:5: undefined: x"),
    ],
)
def test_credentials_are_hidden_and_other_text_is_not(text: str, shown: str) -> None:
    assert Mask().mask_text(text) == shown


def test_only_names_that_say_so_make_a_value_secret() -> None:
    secret = (
        *(
            "DB_PASSWORD",
            "API_KEY",
            "GITHUB_TOKEN",
            "JWT",
            "MYSQL_DSN",
            "DB_PASS",
            "SIGNING_KEY",
            "AUTH",
            "PGPASSWORD",
        ),
        *("dbPassword", "apiKey", "clientsecret", "SMTP_PWD", "JWT_SECRET", "X-Auth-Token", "SESSION_COOKIE"),
    )
    plain = (
        *(
            "ENV",
            "GOPRIVATE",
            "AUTHOR",
            "KEYBOARD",
            "AUTH_MODE",
            "KEY_FILE",
            "TOKEN_TTL",
            "PUBLIC_KEY",
            "COMPASS_SIZE",
        ),
        *("BYPASS", "MONKEY", "PATH", "JWT_ISSUER", "PASSWORD_FILE", "SECRET_NAME", ""),
    )
    values = {name: f"value-{number}" for number, name in enumerate(secret + plain)}
    assert set(secret_values(values)) == {values[name] for name in secret}


def test_a_password_within_a_value_is_a_secret_and_an_ordinary_word_is_none() -> None:
    named = {
        "DATABASE_URL": "postgres://joe:hun%40ter2@db/x",
        "OTHER": "app:pw1234@tcp(db)/x",
        "PG": "host=db password=sesame dbname=x",
        "AUTH": "off",
    }
    assert set(secret_values(named)) == {"hun%40ter2", "hun@ter2", "pw1234", "sesame"}


def test_an_event_without_secrets_is_handed_on_as_it_is() -> None:
    event = BuildStepStarted(revision="r", step="s", name="RUN go build", stage="builder")
    assert masked(event, "s3cr3t-value") is event
    exchange = FrontExchange(code=200, seconds=0.1)
    assert masked(exchange, "s3cr3t-value") is exchange


def test_a_path_that_is_no_text_can_be_shown() -> None:
    name = b"caf\xe9.go".decode("utf-8", "surrogateescape")
    event = DesiredChanged(
        service=SERVICE,
        revision=revision(1),
        changes=(Change(name, "added", "go"),),
        summary=f"{name} added",
        saved_at=1.0,
    )
    board = StatusBoard()
    Redactor(board).notify(event)
    assert json.loads(board.json())["services"][0]["desired"]["summary"] == "caf\ufffd.go added"


@given(st.text(), st.text(min_size=6))
def test_a_secret_never_survives(text: str, secret: str) -> None:
    shown = Mask([secret]).mask_text(f"{text}{secret}{text}")
    assert secret not in shown.replace(HIDDEN, "\0")


def test_the_log_is_one_json_object_per_event_with_its_name_and_time(story: Story) -> None:
    file = io.StringIO()
    log = JsonLog(file)
    for event in story.cycle(1).traffic(200).said("hello").events:
        log.notify(event)
    records = [json.loads(line) for line in file.getvalue().splitlines()]
    names = [record["event"] for record in records]
    assert names[:2] == ["daemon_starting", "daemon_started"]
    logged = {"desired_changed", "build_step_finished", "build_finished", "deploy_finished", "image_sized"}
    assert logged <= set(names)
    assert not {"front_exchange", "build_step_started", "build_step_output", "container_output"} & set(names)
    deployed = next(record for record in records if record["event"] == "deploy_finished")
    assert deployed["outcome"] == "live"
    assert deployed["phases"]["start"] == 0.21
    assert deployed["at"].endswith("Z")


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (BuildStepStarted(revision="", step="", name="", stage=""), "build_step_started"),
        (ContainerOutput(container="", text=""), "container_output"),
        (Event(), "event"),
    ],
)
def test_an_event_is_named_after_its_type(event: Event, name: str) -> None:
    assert name_event(event) == name


def test_python_log_records_have_the_same_form() -> None:
    try:
        raise ValueError("x")
    except ValueError as error:
        caught = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("lib", logging.ERROR, __file__, 1, "a %s", ("b",), caught)
    values = json.loads(JsonFormatter().format(record))
    assert (values["level"], values["logger"], values["text"]) == ("error", "lib", "a b")
    assert "ValueError: x" in values["traceback"]


@pytest.mark.parametrize("as_json", [True, False])
def test_warnings_of_libraries_reach_the_chosen_stream(as_json: bool) -> None:
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    root.handlers = []
    try:
        file = io.StringIO()
        configure_logging(as_json=as_json, file=file)
        logging.getLogger("lib").warning("look")
        logging.getLogger("lib").info("not this")
        assert file.getvalue().count("\n") == 1
        assert ('"text": "look"' in file.getvalue()) == as_json
    finally:
        root.handlers = kept
        root.setLevel(level)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (23_300_000, "23.3 MB"), (602_000_000, "602 MB"),
        (999_600, "1.00 MB"), (9_996, "10.0 kB"), (-1200, "−1.20 kB"), (5_000_000_000_000_000, "5000 TB"),
    ],
)  # fmt: skip
def test_sizes_in_words(count: int, text: str) -> None:
    assert humanize.size(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 ms"), (0.0449, "45 ms"), (0.0999, "0.1 s"), (1.64, "1.6 s"), (9.96, "10 s"),
        (59.7, "1 min 00 s"),
        (125.0, "2 min 05 s"), (3599.6, "1 h 00 min"), (12000.0, "3 h 20 min"),
    ],
)  # fmt: skip
def test_durations_in_words(value: float, text: str) -> None:
    assert humanize.seconds(value) == text


@pytest.mark.parametrize(("count", "text"), [(0, "same size"), (1200, "+1.20 kB"), (-1200, "−1.20 kB")])
def test_changes_of_size_in_words(count: int, text: str) -> None:
    assert humanize.size_change(count) == text


@given(st.integers(0, 10**15))
def test_a_size_has_at_least_three_digits_of_the_truth(count: int) -> None:
    number, unit = humanize.size(count).split()
    shown = float(number) * 1000 ** ["B", "kB", "MB", "GB", "TB"].index(unit)
    assert abs(shown - count) <= 0.0051 * count


def test_secrets_that_are_learned_later_are_hidden_too() -> None:
    heard = Heard()
    masking = Redactor(heard, ["first-secret"])
    masking.add_secrets(["second-secret"])
    masking.notify(ContainerOutput(container="c", text="first-secret second-secret"))
    assert heard.events[0].text == f"{HIDDEN} {HIDDEN}"  # type: ignore[attr-defined]
