# Asks for a task, answers it, and asks for the next.
import http.client, json, os

api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

def call(method, path, body=None):
    api.request(method, "/2018-06-01/runtime/invocation/" + path, body)
    answer = api.getresponse()
    return answer.headers, answer.read()

while True:
    task, payload = call("GET", "next")
    try:
        answer = ("response", {"hello": json.loads(payload)["name"]})
    except Exception as error:
        answer = ("error", {"errorType": type(error).__name__, "errorMessage": str(error)})
    print("answers", answer, flush=True)
    call("POST", task["Lambda-Runtime-Aws-Request-Id"] + "/" + answer[0], json.dumps(answer[1]))
