from watcher.backoff import Backoff


def test_pauses_double_up_to_the_longest_however_many_tries_failed() -> None:
    backoff = Backoff(first=0.5, most=10.0)
    assert [backoff.pause(failures) for failures in (0, 1, 2, 5, 10_000)] == [0.5, 1.0, 2.0, 10.0, 10.0]
