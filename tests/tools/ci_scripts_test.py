#!/usr/bin/env python3
# Tests of what CI prints last (.ci/summary) and of the choice of the tests that run in turns (scripts/turn).
import contextlib
import importlib.machinery
import importlib.util
import io
import os
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.dont_write_bytecode = True


def load(path):
    loader = importlib.machinery.SourceFileLoader(Path(path).name, str(ROOT / path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class Summary(unittest.TestCase):
    CTEST = """<testsuite tests="4" failures="1" disabled="0" skipped="1">
        <testcase name="a" status="run"/><testcase name="b" status="run"/><testcase name="c" status="fail"><failure/></testcase>
        <testcase name="d" status="notrun"><skipped message="no program"/></testcase></testsuite>"""
    GTEST = """<testsuites tests="2" failures="0"><testsuite name="A" tests="2" failures="0" errors="0">
        <testcase name="x" status="run"/><testcase name="y" status="run"/></testsuite></testsuites>"""

    def run_on(self, reports, phases, seconds=100, planned=None):
        summary = load(".ci/summary")
        budget = {name: [500] for name in planned or phases}
        before = os.getcwd()
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as out:
            for path, text in reports.items():
                Path(folder, path).parent.mkdir(parents=True)
                Path(folder, path).write_text(text)
            os.environ["CI_STARTED"] = str(int(time.time()) - seconds)
            try:
                os.chdir(folder)
                status = summary.summarize(phases, budget)
            finally:
                os.chdir(before)
        return status, out.getvalue().splitlines()

    def test_counts_reports_and_phases(self):
        reports = {"build-instrumented/results/a.xml": self.GTEST}
        status, lines = self.run_on(reports, {"demo": [0, 5, 5], "sanitizers": [0, 5, 5]})
        self.assertEqual((status, lines[-1]), (0, "ci: 3 passed, 0 failed, 0 skipped"))

    def test_fails_where_a_test_failed_or_was_skipped(self):
        status, lines = self.run_on({"build/results/tests.xml": self.CTEST}, {"test": [8, 5, 5]})
        self.assertEqual((status, lines[-1]), (1, "ci: 2 passed, 1 failed, 1 skipped"))
        status, _ = self.run_on({"build/results/tests.xml": self.CTEST.replace('failures="1"', 'failures="0"')}, {"test": [0, 5, 5]})
        self.assertEqual(status, 1)

    def test_fails_where_a_phase_failed_or_reported_nothing(self):
        self.assertEqual(self.run_on({}, {"demo": [1, 5, 5]})[1][-1], "ci: 0 passed, 1 failed, 0 skipped")
        self.assertEqual(self.run_on({}, {"test": [0, 5, 5]})[1][-1], "ci: 0 passed, 1 failed, 0 skipped")

    def test_fails_where_a_phase_did_not_run(self):
        self.assertEqual(self.run_on({}, {"demo": [0, 5, 5]}, planned=["demo", "test"])[1][-1], "ci: 1 passed, 1 failed, 0 skipped")

    def test_tells_what_is_over_and_fails_only_far_over(self):
        status, lines = self.run_on({}, {"demo": [0, 501, 5]}, 3700)
        self.assertEqual(status, 0)
        self.assertTrue(any("over its budget" in line for line in lines) and any(line.startswith("NOTE: 37") for line in lines))
        self.assertEqual(self.run_on({}, {"demo": [0, 5, 5]}, 5100)[0], 1)

    def test_the_budget_fits(self):
        summary = load(".ci/summary")
        self.assertLessEqual(sum(seconds for seconds, in summary.read_table(ROOT / ".ci/budget").values()), summary.LIMIT)


class Turn(unittest.TestCase):
    def test_turns_take_every_test_once(self):
        turn = load("scripts/turn")
        labelled = {"properties": [{"name": "LABELS", "value": ["gpu"]}]}
        tests = [{}, labelled, labelled, {"properties": [{"name": "LABELS", "value": ["fast"]}]}, labelled]
        taken = []
        for number in (6, 7):
            chosen, in_turns = turn.pick(tests, "gpu", 2, number)
            self.assertEqual(in_turns, [2, 3, 5])
            self.assertTrue({1, 4} <= set(chosen))
            taken += sorted(set(chosen) & set(in_turns))
        self.assertEqual(taken, [2, 5, 3])


if __name__ == "__main__":
    unittest.main()
