"""Drives a running Windlass with the IronWorker client for Python, unmodified.

Run in a folder with the server's `iron.json`: the client finds it there by itself. What the client has no method for
goes through its own connection, `worker.client`.
"""

import datetime
import io
import os
import pathlib
import tempfile
import time
import unittest
import zipfile

import iron_worker
import requests

WORKER = """\
import json, os, sys
print("arguments", sys.argv[1], sys.argv[2].endswith("/"))
payload = json.load(open(os.environ["PAYLOAD_FILE"]))
print("hello", payload["name"])
if payload.get("fail"):
    sys.stderr.write("asked to fail\\n")
    sys.exit(3)
"""

# Reports progress with the very client that queued it, and no configuration file: all it needs is in its environment.
REPORTER = """\
import os, sys
sys.path[:0] = {path!r}
import iron_worker
worker = iron_worker.IronWorker()
worker.setProgress(os.environ["TASK_ID"], 42, "half way")
print(worker.task(os.environ["TASK_ID"]).status)
"""

SLEEPER = "import time\nprint('asleep', flush=True)\ntime.sleep(60)\n"


def eventually(look, what, seconds=20):
    """Waits until `look()` is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("did not happen in %d s: %s" % (seconds, what))


class PythonClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.worker = iron_worker.IronWorker()
        cls.folder = tempfile.TemporaryDirectory()
        cls.home = os.getcwd()
        for name, text in [
            ("hello", WORKER),
            ("sleeper", SLEEPER),
            ("reporter", REPORTER.format(path=[p for p in os.sys.path if "site-packages" in p])),
        ]:
            cls.upload(name, text)

    @classmethod
    def tearDownClass(cls):
        os.chdir(cls.home)
        cls.folder.cleanup()

    @classmethod
    def upload(cls, name, text):
        os.chdir(cls.folder.name)
        try:
            pathlib.Path(name + ".py").write_text(text)
            code = iron_worker.CodePackage(name="py-" + name)
            code.merge(name + ".py")
            return cls.worker.upload(code)
        finally:
            os.chdir(cls.home)

    def test_a_package_is_uploaded_listed_revised_and_deleted(self):
        first = self.upload("extra", WORKER)
        second = self.upload("extra", WORKER + "# again\n")
        self.assertEqual((second.id, second.revision), (first.id, 2))
        self.assertIn("py-extra", [code.name for code in self.worker.codes()])
        self.assertEqual(self.worker.code(first.id).name, "py-extra")
        self.assertEqual(len(self.worker.revisions(first.id)), 2)
        self.assertTrue(self.worker.deleteCode(first.id))
        self.assertNotIn("py-extra", [code.name for code in self.worker.codes()])

    def test_a_package_is_downloaded_as_it_was_sent(self):
        code = self.upload("download", WORKER)
        # `download()` of this client fails on Python 3 whatever the server says: it asks the response of `requests`
        # for `getheader`, and writes text to a binary file. So this asks with the client's address and headers only.
        api = self.worker.client
        url = api.base_url + "codes/%s/download?revision=1" % code.id
        answer = requests.get(url, headers={"Authorization": "OAuth " + api.token})
        self.assertEqual(answer.status_code, 200)
        self.assertIn("filename=", answer.headers["Content-Disposition"])
        with zipfile.ZipFile(io.BytesIO(answer.content)) as package:
            self.assertEqual(package.read("download.py").decode(), WORKER)

    def test_a_paused_package_starts_nothing_until_it_is_resumed(self):
        code = self.upload("paused", WORKER)
        pause, resume = "codes/%s/pause_task_queue" % code.id, "codes/%s/resume_task_queue" % code.id
        self.assertEqual(self.worker.client.post(pause)["body"]["msg"], "Paused")
        task = self.worker.queue(code_name="py-paused", payload={"name": "late"}, priority=2)
        # What is queued after it runs before it: it was passed over, not just slow to start.
        after = self.worker.queue(code_name="py-hello", payload={"name": "after"})
        self.assertEqual(self.worker.wait_for_task(after).status, "complete")
        self.assertEqual(self.worker.task(task.id).status, "queued")
        self.assertEqual(self.worker.client.post(resume)["body"]["msg"], "Resumed")
        self.assertEqual(self.worker.wait_for_task(task).status, "complete")

    def test_tasks_are_found_by_their_label(self):
        wanted = self.worker.queue(code_name="py-hello", payload={"name": "a"}, label="red apple")
        self.worker.queue(code_name="py-hello", payload={"name": "b"}, label="pear")
        found = self.worker.client.get("tasks?label=red%20apple")["body"]["tasks"]
        self.assertEqual([(task["id"], task["label"]) for task in found], [(wanted.id, "red apple")])

    def test_a_task_is_queued_waited_for_and_its_log_read(self):
        task = self.worker.queue(code_name="py-hello", payload={"name": "Outcast"}, label="greeting")
        self.assertEqual(len(task.id), 24)
        done = self.worker.wait_for_task(task)
        self.assertEqual((done.status, done.payload, done.label), ("complete", {"name": "Outcast"}, "greeting"))
        self.assertEqual(self.worker.wait_for_task_log(task), "arguments -d True\nhello Outcast\n")

    def test_run_returns_what_the_worker_printed(self):
        self.assertIn("hello you", self.worker.run(code_name="py-hello", payload={"name": "you"}))

    def test_many_tasks_in_one_call(self):
        wanted = [iron_worker.Task(code_name="py-hello", payload={"name": str(n)}) for n in range(10)]
        queued = self.worker.queue(tasks=wanted)
        self.assertEqual(len({task.id for task in queued}), 10)
        for task in queued:
            self.assertEqual(self.worker.wait_for_task(task).status, "complete")
        listed = self.worker.tasks(code_name="py-hello", complete=True, per_page=100)
        self.assertLessEqual({task.id for task in queued}, {task.id for task in listed})

    def test_a_failure_says_why_and_is_retried_as_a_new_task(self):
        task = self.worker.queue(code_name="py-hello", payload={"name": "x", "fail": True})
        failed = self.worker.wait_for_task(task)
        self.assertEqual((failed.status, failed.message), ("error", "asked to fail\n"))
        raw = self.worker.client.get("tasks/%s" % task.id)["body"]
        self.assertEqual((raw["msg"], raw["error_class"]), ("asked to fail\n", "Process Exit 3"))
        # Two pipes: which line came first is not told.
        self.assertEqual(sorted(self.worker.log(task).splitlines()), ["arguments -d True", "asked to fail", "hello x"])
        self.assertEqual(self.worker.stdout(task), "arguments -d True\nhello x\n")
        again = self.worker.retry(task.id, delay=0)
        self.assertEqual(again["msg"], "Queued up")
        self.assertNotEqual(again["tasks"][0]["id"], task.id)

    def test_progress_from_inside_the_worker(self):
        done = self.worker.wait_for_task(self.worker.queue(code_name="py-reporter"))
        log = self.worker.wait_for_task_log(done)
        self.assertEqual((done.status, done.percent), ("complete", 42), log)
        self.assertIn("running", log)
        self.assertEqual(done.message, "half way")

    def test_a_delayed_task_is_cancelled(self):
        task = self.worker.queue(code_name="py-hello", payload={"name": "late"}, delay=3600)
        self.assertEqual(self.worker.task(task.id).status, "queued")
        self.assertTrue(self.worker.cancel(task.id))
        self.assertEqual(self.worker.task(task.id).status, "cancelled")

    def test_a_running_task_is_cancelled(self):
        task = self.worker.queue(code_name="py-sleeper")
        eventually(lambda: self.worker.task(task.id).status == "running", "the task runs")
        self.worker.cancel(task.id)
        self.assertEqual(self.worker.wait_for_task(task).status, "cancelled")

    def test_a_schedule_runs_at_its_time_and_ends(self):
        start_at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
        schedule = self.worker.queue(
            iron_worker.Task(code_name="py-hello", payload={"name": "often"}, scheduled=True,
                             start_at=start_at, run_every=3600, run_times=5, label="scheduled"))
        self.assertEqual(len(schedule.id), 24)
        seen = eventually(lambda: [s for s in self.worker.tasks(scheduled=True) if s.id == schedule.id and s.run_count == 1],
                          "the schedule has fired")
        self.assertEqual(seen[0].status, "scheduled")
        made = self.worker.client.get("tasks?schedule_id=%s" % schedule.id)["body"]["tasks"]
        self.assertEqual([(t["schedule_id"], t["label"]) for t in made], [(schedule.id, "scheduled")])
        self.assertTrue(self.worker.cancel(schedule.id, scheduled=True))
        self.assertEqual(self.worker.task(schedule.id, scheduled=True).status, "cancelled")

    def test_errors_come_as_errors(self):
        with self.assertRaises(requests.exceptions.HTTPError) as unknown:
            self.worker.queue(code_name="nobody")
        self.assertEqual(unknown.exception.response.status_code, 404)
        self.assertIn("nobody", unknown.exception.response.json()["msg"])
        stranger = iron_worker.IronWorker(token="wrong")
        with self.assertRaises(requests.exceptions.HTTPError) as refused:
            stranger.codes()
        self.assertEqual(refused.exception.response.status_code, 401)


if __name__ == "__main__":
    unittest.main(verbosity=2)
