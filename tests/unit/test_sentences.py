"""Messages are asserted by their facts (`tests/facts.py`); sentences only where they are the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sentences import find_sentences, list_assertions

TESTS = Path(__file__).parents[1]

ALLOWED = {
    "a program reads this text: a rule of iptables, a command line, a line of a Dockerfile": (
        "unit/cli/test_dockerfile.py::test_a_person_sees_a_diff_with_reasons",
        "unit/deploy/test_compose_program.py::test_compose_resolves_the_project_and_hashes_what_it_resolved",
        "unit/deploy/test_forwarding.py::test_each_network_forwards_to_the_address_in_it",
        "unit/deploy/test_forwarding.py::test_nothing_is_forwarded_without_a_live_container_or_where_it_is_not",
        "unit/deploy/test_forwarding.py::test_ports_of_a_front_are_served_and_all_others_forwarded",
        "unit/deploy/test_forwarding.py::test_what_a_starting_container_refuses_is_tried_again",
        "unit/dockerfile/test_accelerate.py::test_a_clean_of_modules_stays_where_they_are_in_the_layer",
        "unit/dockerfile/test_accelerate.py::test_a_run_becomes",
        "unit/dockerfile/test_accelerate.py::test_fast_in_the_exec_form",
        "unit/dockerfile/test_accelerate.py::test_an_official_base_that_was_not_looked_at_is_taken_as_usual",
        "unit/dockerfile/test_accelerate.py::test_an_onbuild_of_the_file_is_left_as_it_is",
        "unit/dockerfile/test_accelerate.py::test_another_shell_is_left_alone",
        "unit/dockerfile/test_accelerate.py::test_a_trigger_of_the_base_that_runs_go_keeps_the_modules_in_layers",
        "unit/dockerfile/test_accelerate.py::test_the_escape_sign_of_the_file_is_respected",
        "unit/dockerfile/test_article.py::test_only_the_compile_line_changes",
        "unit/dockerfile/test_binary_cache.py::test_every_folder_above_the_program_is_looked_through",
        "unit/dockerfile/test_contexts.py::test_an_image_takes_the_place_of_its_name",
        "unit/dockerfile/test_gotest.py::test_a_shell_form",
        "unit/dockerfile/test_lint.py::test_the_diff_gives_a_reason_for_each_changed_line_and_each_one_left",
        "unit/dockerfile/test_parse.py::test_the_parts_put_together_are_the_file",
        "unit/dockerfile/test_pins.py::test_a_base_gets_its_digest",
        "unit/dockerfile/test_shrink.py::test_certificates_and_users_of_a_step_move_with_it",
        "unit/dockerfile/test_shrink.py::test_a_measured_step_runs_again_and_no_other",
        "unit/dockerfile/test_shrink.py::test_flags_are_added_to_those_that_are_there",
        "unit/dockerfile/test_shrink.py::test_the_article_becomes_small",
        "unit/dockerfile/test_shrink.py::test_the_c_library_can_become_part_of_the_program",
        "unit/test_bench_repositories.py::test_bases_become_images_that_are_here",
        "unit/test_dev.py::test_run_becomes_the_python_process_with_the_example_as_project",
        "unit/test_dev.py::test_the_examples_dockerfile_is_the_articles",
    ),
    "the text is the user's or the engine's own, which must come back unchanged": (
        "e2e/test_cases.py::test_an_everyday_compose_file_is_taken",
        "unit/builder/test_builder.py::test_a_failure_is_told_in_the_words_of_the_file",
        "unit/builder/test_builder.py::test_a_variable_in_a_changed_step_does_not_take_the_second_try_away",
        "unit/builder/test_parts.py::test_a_step_over_several_lines_is_told_as_the_file_has_it",
        "unit/builder/test_parts.py::test_the_error_of_a_step_shows_the_command_of_the_file",
        "unit/diagnosis/test_diagnose.py::test_what_the_engines_machine_lacks_is_not_blamed_on_the_tree",
        "unit/prune/test_step_names.py::test_a_step_is_named_by_the_users_line",
    ),
    "the columns and the order of the lines are what is tested": (
        "unit/cli/test_remote_commands.py::test_the_lines_of_several_services_are_named",
        "unit/observers/test_console.py::test_a_compile_error_is_shown_in_full_and_what_serves_is_called_stale",
        "unit/observers/test_console.py::test_with_two_services_each_line_names_its_own",
        "unit/observers/test_console.py::test_a_cycle_says_what_changed_each_step_and_what_is_live",
    ),
}


def test_no_test_depends_on_the_wording_of_a_message() -> None:
    """Name what a message must say with `missing` of `tests/facts.py`, or add the reason above."""
    allowed = {test for tests in ALLOWED.values() for test in tests}
    found = list_assertions(TESTS)
    new = [
        f"{test.partition('::')[0]}:{each.line}: {each.text}"
        for test in sorted(found.keys() - allowed)
        for each in found[test]
    ]
    assert new == []
    assert sorted(allowed - found.keys()) == [], "these compare no sentence any more"


@pytest.mark.parametrize(
    "assertion",
    [
        "assert say() == 'the port 9000 of web is taken: stop it'",
        "assert 'the port 9000 of web is taken: stop it' == say()",
        "assert say() == f'the port {port} of {name} is taken: stop it'",
        "assert say() == ('the port 9000 of web ' 'is taken: stop it')",
        "assert says == ['ready', 'the port 9000 of web is taken: stop it']",
        "assert say() == Finding(1, text='the port 9000 of web is taken: stop it')",
        "assert good and say() == 'the port 9000 of web is taken: stop it'",
        "assert find(say() == 'the port 9000 of web is taken: stop it')",
        "assert 'the port 9000 of web is taken' in say()",
        "assert 'port 9000 of web is' not in say()",
        "assert any(f'the port {port} of {name} is' in line for line in lines)",
        "assert (code, 'the port 9000 of web' in err) == (1, True)",
    ],
)
def test_a_sentence_in_an_assertion_is_found(assertion: str) -> None:
    (found,) = find_sentences(f"async def test_it():\n    {assertion}\n")
    assert (found.function, found.line) == ("test_it", 2)
    assert len(found.text.split()) >= 5


@pytest.mark.parametrize(
    "parameters",
    [
        '"a, why", [(1, "the port 9000 of web is taken: stop it")]',
        '("a", "why"), [(1, "short"), (2, "the port 9000 of web is taken: stop it")]',
        '"why", ["the port 9000 of web is taken: stop it"]',
        '["a", "why"], (pytest.param(1, "the port 9000 of web is taken: stop it", id="x"),)',
    ],
)
def test_a_sentence_in_the_parameters_is_found(parameters: str) -> None:
    for comparison in ("say() == why", "why in say()"):
        source = f"@pytest.mark.parametrize({parameters})\ndef test_it(why):\n    assert {comparison}\n"
        assert len(find_sentences(source)) == 1


@pytest.mark.parametrize(
    "assertion",
    [
        "assert say() == 'the port 9000 is taken'",
        "assert 'port 9000' in say()",
        "assert line in 'one two three four five six seven eight'",
        "assert missing(say(), 'the port 9000 of web is taken: stop it') == []",
        "assert load('services: {web: {build: ., ports: [9000, 9001, 9002]}}') == web",
        "assert ports == [9000], 'the port of web is what its file says it is'",
        "text = 'the port 9000 of web is taken: stop it'",
    ],
)
def test_an_input_a_fact_or_an_explanation_is_no_compared_sentence(assertion: str) -> None:
    assert find_sentences(f"def test_it():\n    {assertion}\n") == []


def test_a_parameter_that_is_only_the_input_is_no_compared_sentence() -> None:
    source = (
        "@pytest.mark.parametrize(('text', 'size'), [('one two three four five six seven eight', 8)])\n"
        "def test_it(text, size):\n    assert count(text) == size\n"
    )
    assert find_sentences(source) == []
