# Calls a handler for one task after another, through the AWS Lambda Runtime API. Where there is an awslambdaric, in the
# package or on the host, that does it.
import importlib.util, os, sys
handler = sys.argv[1]
if importlib.util.find_spec("awslambdaric"):
    import runpy
    sys.argv = ["awslambdaric", handler]
    runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)
    sys.exit()
import importlib, json, socket, time, traceback
host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].rpartition(":")
root = "/2018-06-01/runtime/"
connection = socket.create_connection((host, int(port)))
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
answers = connection.makefile("rb")


def call(method, path, body=b""):
    head = f"{method} {root}{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    if not answers.readline():
        sys.exit()
    headers = {}
    while (line := answers.readline().decode("latin-1").strip()):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return headers, answers.read(int(headers.get("content-length", 0)))


def report(path, error):
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    sys.stderr.write("".join(lines))
    said = {"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": lines}
    call("POST", path, json.dumps(said).encode())


class Context:
    function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
    memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
    log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
    identity = None

    def __init__(self, headers):
        self._headers = headers
        self.aws_request_id = headers["lambda-runtime-aws-request-id"]
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")

    @property
    def client_context(self):
        context = type("ClientContext", (), {"client": None, "env": {}})()
        context.custom = json.loads(self._headers.get("lambda-runtime-client-context", "{}")).get("custom", {})
        return context

    def get_remaining_time_in_millis(self):
        return max(0, int(self._headers["lambda-runtime-deadline-ms"]) - int(time.time() * 1000))


try:
    file, _, name = handler.rpartition(".")
    function = getattr(importlib.import_module(file.replace("/", ".")), name)
except BaseException as error:
    report("init/error", error)
    sys.exit(1)
while True:
    headers, event = call("GET", "invocation/next")
    task = "invocation/" + headers["lambda-runtime-aws-request-id"]
    if "lambda-runtime-trace-id" in headers:
        os.environ["_X_AMZN_TRACE_ID"] = headers["lambda-runtime-trace-id"]
    try:
        result = json.dumps(function(json.loads(event) if event else None, Context(headers))).encode()
    except Exception as error:
        report(task + "/error", error)
    else:
        call("POST", task + "/response", result)
