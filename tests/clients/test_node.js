// Drives a running Windlass with the IronWorker client for Node, unmodified.
//
// Run in a folder with the server's `iron.json` and the client's `upload_files`, which its uploader copies from there.
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const test = require('node:test');
const { promisify } = require('node:util');

// The client zips with an adm-zip that writes checksums with `writeInt32LE` and asks it not to check their range
// (`noAssert`, which Node no longer knows): a checksum above 2^31 throws. This brings back what it was written for.
const writeInt32LE = Buffer.prototype.writeInt32LE;
Buffer.prototype.writeInt32LE = function (value, offset) {
  return writeInt32LE.call(this, value | 0, offset);
};

const { Client } = require('iron_worker');

const iron = JSON.parse(fs.readFileSync('iron.json', 'utf8'));
const client = new Client(iron);
const call = (method, ...args) => promisify(client[method]).apply(client, args);
// What the client has no method for: a call with its address and token.
const http = (method, url) => fetch(
  `${iron.scheme}://${iron.host}:${iron.port}/2/projects/${iron.project_id}/${url}`,
  { method, headers: { Authorization: 'OAuth ' + iron.token } },
);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'windlass-node-'));

async function upload(name, text) {
  const source = path.join(folder, name) + '/';
  fs.mkdirSync(source, { recursive: true });
  fs.writeFileSync(path.join(source, 'worker.js'), text);
  return call('codesUpload', 'node-' + name, source, 'worker.js');
}

async function eventually(look, what) {
  const deadline = Date.now() + 20000;
  while (Date.now() < deadline) {
    const found = await look();
    if (found) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error('did not happen in 20 s: ' + what);
}

const finished = (id) => call('tasksWaitFor', id, {});

test.before(async () => {
  await upload('hello', `
    const payload = JSON.parse(require('fs').readFileSync(process.env.PAYLOAD_FILE));
    console.log('hello ' + payload.name);
    if (payload.fail) { console.error('asked to fail'); process.exit(3); }
  `);
  await upload('sleeper', "console.log('asleep'); setTimeout(() => {}, 60000);");
});

test.after(() => fs.rmSync(folder, { recursive: true }));

test('a package is uploaded, listed and read', async () => {
  const codes = await call('codesList', {});
  const code = codes.find((c) => c.name === 'node-hello');
  assert.strictEqual(code.rev, 1);
  assert.strictEqual((await call('codesGet', code.id)).name, 'node-hello');
  assert.strictEqual((await call('codesRevisions', code.id, {})).length, 1);
});

test('the same folder again is a new revision of the package', async () => {
  const text = "console.log('once');";
  await upload('again', text);
  await upload('again', text);
  const code = (await call('codesList', {})).find((c) => c.name === 'node-again');
  assert.strictEqual(code.rev, 2);
  assert.deepStrictEqual((await call('codesRevisions', code.id, {})).map((r) => r.rev).sort(), [1, 2]);
  assert.strictEqual(await call('tasksRun', 'node-again', {}, {}), 'once\n');
  await call('codesDelete', code.id);
  assert.ok((await call('codesList', {})).every((c) => c.name !== 'node-again'));
});

test('a package is downloaded', async () => {
  const code = (await call('codesList', {})).find((c) => c.name === 'node-hello');
  // The client reads every answer as text, which no zip survives: it shows the start, plain HTTP the whole.
  assert.strictEqual((await call('codesDownload', code.id, {})).slice(0, 4), 'PK\x03\x04');
  const zip = Buffer.from(await (await http('GET', `codes/${code.id}/download`)).arrayBuffer());
  const AdmZip = require('adm-zip');
  assert.match(new AdmZip(zip).readAsText('worker.js'), /asked to fail/);
});

test('a paused package starts nothing until it is resumed', async () => {
  await upload('paused', "console.log('resumed');");
  const code = (await call('codesList', {})).find((c) => c.name === 'node-paused');
  assert.strictEqual((await (await http('POST', `codes/${code.id}/pause_task_queue`)).json()).msg, 'Paused');
  const task = await call('tasksCreate', 'node-paused', {}, { priority: 2 });
  // What is queued after it runs before it: it was passed over, not just slow to start.
  const after = await call('tasksCreate', 'node-hello', { name: 'after' }, {});
  assert.strictEqual((await finished(after.id)).status, 'complete');
  assert.strictEqual((await call('tasksGet', task.id)).status, 'queued');
  assert.strictEqual((await (await http('POST', `codes/${code.id}/resume_task_queue`)).json()).msg, 'Resumed');
  assert.strictEqual((await finished(task.id)).status, 'complete');
});

test('tasks are found by their label', async () => {
  const wanted = await call('tasksCreate', 'node-hello', { name: 'a' }, { label: 'red apple' });
  await call('tasksCreate', 'node-hello', { name: 'b' }, { label: 'pear' });
  // The client for Python may have used the same label on the same server.
  const found = await call('tasksList', { label: 'red apple', code_name: 'node-hello' });
  assert.deepStrictEqual(found.map((t) => t.id), [wanted.id]);
});

test('a task is queued, waited for and its log read', async () => {
  const task = await call('tasksCreate', 'node-hello', { name: 'Outcast' }, { label: 'greeting' });
  assert.strictEqual(task.id.length, 24);
  const done = await finished(task.id);
  assert.strictEqual(done.status, 'complete');
  assert.strictEqual(done.payload, '{"name":"Outcast"}');
  assert.strictEqual(await call('tasksWaitForLog', task.id, {}), 'hello Outcast\n');
  assert.strictEqual(await call('tasksStdout', task.id), 'hello Outcast\n');
});

test('a run answers what the worker printed', async () => {
  assert.strictEqual(await call('tasksRun', 'node-hello', { name: 'you' }, {}), 'hello you\n');
});

test('many tasks in one call', async () => {
  const tasks = Array.from({ length: 10 }, (_, n) => ({ codeName: 'node-hello', payload: { name: n }, options: {} }));
  await call('tasksCreateBulk', tasks);
  await eventually(async () => {
    const listed = await call('tasksList', { code_name: 'node-hello', complete: 1, per_page: 100 });
    return listed.length >= 10;
  }, 'ten tasks are complete');
});

test('a failure says why and is retried as a new task', async () => {
  const task = await call('tasksCreate', 'node-hello', { name: 'x', fail: true }, {});
  const failed = await finished(task.id);
  assert.deepStrictEqual([failed.status, failed.msg, failed.error_class], ['error', 'asked to fail\n', 'Process Exit 3']);
  // Two pipes: which line came first is not told.
  assert.deepStrictEqual((await call('tasksLog', task.id)).split('\n').sort(), ['', 'asked to fail', 'hello x']);
  assert.strictEqual(await call('tasksStdout', task.id), 'hello x\n');
  const again = await call('tasksRetry', task.id, 0);
  assert.strictEqual(again.msg, 'Queued up');
  assert.notStrictEqual(again.tasks[0].id, task.id);
});

test('progress is set and kept', async () => {
  const task = await call('tasksCreate', 'node-hello', { name: 'late' }, { delay: 3600 });
  assert.strictEqual((await call('tasksSetProgress', task.id, { percent: 42, msg: 'half way' })).msg, 'Progress set');
  const seen = await call('tasksGet', task.id);
  assert.deepStrictEqual([seen.percent, seen.msg], [42, 'half way']);
  await call('tasksCancel', task.id);
});

test('delayed and running tasks are cancelled', async () => {
  const late = await call('tasksCreate', 'node-hello', { name: 'late' }, { delay: 3600 });
  assert.strictEqual((await call('tasksCancel', late.id)).msg, 'Cancelled');
  assert.strictEqual((await call('tasksGet', late.id)).status, 'cancelled');
  const asleep = await call('tasksCreate', 'node-sleeper', {}, {});
  await eventually(async () => (await call('tasksGet', asleep.id)).status === 'running', 'the task runs');
  await call('tasksCancel', asleep.id);
  assert.strictEqual((await finished(asleep.id)).status, 'cancelled');
});

test('every task of a package is cancelled', async () => {
  const codes = await call('codesList', {});
  const task = await call('tasksCreate', 'node-sleeper', {}, { delay: 3600 });
  const code = codes.find((c) => c.name === 'node-sleeper');
  assert.strictEqual((await call('tasksCancelAll', code.id)).msg, 'Cancelled');
  assert.strictEqual((await call('tasksGet', task.id)).status, 'cancelled');
});

test('a schedule runs at its time and is cancelled', async () => {
  const startAt = new Date(Date.now() + 1000).toISOString();
  const made = await call('schedulesCreate', 'node-hello', { name: 'often' }, { start_at: startAt, run_every: 3600 });
  const fired = await eventually(async () => {
    const schedule = await call('schedulesGet', made.id);
    return schedule.run_count === 1 && schedule;
  }, 'the schedule has fired');
  assert.strictEqual(fired.status, 'scheduled');
  assert.strictEqual(fired.next_start, new Date(Date.parse(startAt) + 3600000).toISOString());
  assert.strictEqual((await call('schedulesCancel', made.id)).msg, 'Cancelled');
  assert.ok((await call('schedulesList', {})).some((s) => s.id === made.id && s.status === 'cancelled'));
});

test('clusters are listed', async () => {
  assert.ok((await call('clustersList', {})).clusters.some((c) => c.name === 'default'));
});

test('errors come as errors', async () => {
  await assert.rejects(call('tasksCreate', 'nobody', {}, {}), /nobody/);
  await assert.rejects(call('tasksLog', '0123456789abcdef01234567'), /msg/);
});
