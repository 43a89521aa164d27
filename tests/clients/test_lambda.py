"""AWS Lambda packages as they are, with the runtime client of PyPI, uploaded and run by the windlass command."""

import io
import json
import os
import pathlib
import subprocess
import tempfile
import unittest
import zipfile

BINARY = os.environ["WINDLASS"]
RIC = pathlib.Path(os.environ["AWSLAMBDARIC"])

HANDLER = """
import awslambdaric, os
count = 0
def handler(event, context):
    global count
    count += 1
    print("by", os.path.dirname(awslambdaric.__file__) == os.environ["LAMBDA_TASK_ROOT"] + "/awslambdaric")
    if "fail" in event:
        raise ValueError(event["fail"])
    return {"hello": event["name"], "count": count, "left": context.get_remaining_time_in_millis() > 1000,
            "id": context.aws_request_id, "token": bool(context.client_context.custom["task_token"])}
"""


def windlass(*arguments, code=0):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True)
    assert done.returncode == code, (arguments, done)
    return done.stdout


def package(folder, files):
    path = folder / "function.zip"
    with zipfile.ZipFile(path, "w") as target:
        for name, content in files.items():
            target.writestr(name, content)
        for file in RIC.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                target.write(file, file.relative_to(RIC))
    return str(path)


class Lambda(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.zip = package(pathlib.Path(cls.folder.name), {"src/app.py": HANDLER})
        windlass("upload", "--lambda", cls.zip, "--handler", "src/app.handler", "--runtime", "python3.12", "--name", "fn")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_one(self, event, code=0):
        done = windlass("queue", "fn", "--payload", json.dumps(event), "--wait", "--json", code=code)
        task = json.loads(done[done.index("{"):])
        return task["tasks"][0]["id"] if "tasks" in task else task["id"]

    def test_a_handler_is_called_by_its_own_client(self):
        first, second = (self.run_one({"name": "Outcast"}) for _ in range(2))
        for task in (first, second):
            self.assertIn("by True", windlass("logs", task))
            result = json.loads(windlass("task", task, "--result"))
            self.assertEqual((result["hello"], result["left"], result["token"]), ("Outcast", True, True))
            self.assertEqual(result["id"], task + "-1")

    def test_what_a_handler_raises_is_what_the_task_says(self):
        task = json.loads(windlass("task", self.run_one({"fail": "no good"}, code=1), "--json"))
        self.assertEqual((task["status"], task["msg"]), ("error", "ValueError: no good"))

    def test_it_runs_here_too(self):
        said = windlass("run", self.zip, "--lambda", "--handler", "src/app.handler", "--runtime", "python3", "--payload",
                        '{"name": "here"}')
        self.assertEqual(json.loads(said.splitlines()[-1])["hello"], "here")

    def test_a_missing_module_is_named(self):
        windlass("upload", self.zip, "--handler", "nowhere.handler", "--runtime", "python3", "--name", "nowhere")
        done = windlass("queue", "nowhere", "--payload", "{}", "--wait", "--json", code=1)
        self.assertIn("nowhere", done)


if __name__ == "__main__":
    unittest.main(verbosity=1)
