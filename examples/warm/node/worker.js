// Asks for a task, answers it, and asks for the next.
const api = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/`;

async function work() {
  for (;;) {
    const task = await fetch(api + "next");
    const id = task.headers.get("lambda-runtime-aws-request-id");
    let answer;
    try {
      answer = ["response", { hello: (await task.json()).name }];
    } catch (error) {
      answer = ["error", { errorType: error.name, errorMessage: error.message }];
    }
    console.log("answers", answer);
    await (await fetch(`${api}${id}/${answer[0]}`, { method: "POST", body: JSON.stringify(answer[1]) })).text();
  }
}

work();
