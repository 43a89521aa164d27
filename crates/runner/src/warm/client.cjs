// Calls a handler for one task after another, through the AWS Lambda Runtime API. Where the package has an
// aws-lambda-ric, that does it.
const fs = require("fs"), http = require("http"), path = require("path"), { pathToFileURL } = require("url");
const handler = process.argv[1], folder = process.cwd();
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const call = (method, what, body) => new Promise((done, failed) => {
  const request = http.request(
    { host, port, agent, method, path: "/2018-06-01/runtime/" + what,
      headers: body === undefined ? {} : { "Content-Length": Buffer.byteLength(body) } },
    (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part)).on("end", () => done([answer.headers, Buffer.concat(parts)]));
    });
  request.on("error", failed).setNoDelay(true);
  request.end(body);
});
const report = (what, error) => {
  console.error(error);
  const is = error instanceof Error;
  const said = { errorType: is ? error.name : "Error", errorMessage: is ? error.message : String(error),
                 stackTrace: is ? String(error.stack).split("\n") : [] };
  return call("POST", what, JSON.stringify(said));
};
const load = async () => {
  const dot = handler.lastIndexOf("."), file = path.resolve(folder, handler.slice(0, dot));
  const found = ["", ".js", ".mjs", ".cjs"].map((end) => file + end).find((f) => fs.statSync(f, { throwIfNoEntry: false })?.isFile());
  if (!found) throw Object.assign(new Error(`there is no file ${file}.js`), { name: "Runtime.ImportModuleError" });
  const module = await import(pathToFileURL(found));
  const called = module[handler.slice(dot + 1)] ?? module.default?.[handler.slice(dot + 1)];
  if (typeof called !== "function") throw Object.assign(new Error(`${handler} is no function`), { name: "Runtime.HandlerNotFound" });
  return called;
};
// A handler calls back, or returns its result or a promise of it.
const result = (called, event, context) => new Promise((done, failed) => {
  const returned = called(event, context, (error, value) => (error ? failed(error) : done(value)));
  if (returned !== undefined || called.length < 3) Promise.resolve(returned).then(done, failed);
});
const serve = async () => {
  const called = await load().catch(async (error) => { await report("init/error", error); process.exit(1); });
  for (;;) {
    const [headers, event] = await call("GET", "invocation/next");
    const task = "invocation/" + headers["lambda-runtime-aws-request-id"];
    if (headers["lambda-runtime-trace-id"]) process.env._X_AMZN_TRACE_ID = headers["lambda-runtime-trace-id"];
    const context = {
      awsRequestId: headers["lambda-runtime-aws-request-id"],
      invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
      functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
      functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
      memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
      logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
      logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
      clientContext: JSON.parse(headers["lambda-runtime-client-context"] ?? "{}"),
      callbackWaitsForEmptyEventLoop: true,
      getRemainingTimeInMillis: () => Math.max(0, Number(headers["lambda-runtime-deadline-ms"]) - Date.now()),
    };
    try {
      const value = await result(called, event.length ? JSON.parse(event) : null, context);
      await call("POST", task + "/response", JSON.stringify(value) ?? "null");
    } catch (error) {
      await report(task + "/error", error);
    }
  }
};
let own;
try {
  own = require.resolve("aws-lambda-ric", { paths: [folder] });
} catch {
  serve().catch((error) => { console.error(error); process.exit(1); });
}
if (own) import(pathToFileURL(own)).then((ric) => (ric.run ?? ric.default.run)(folder, handler));
