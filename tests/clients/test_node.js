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

const { Client } = require('iron_worker');

const client = new Client(JSON.parse(fs.readFileSync('iron.json', 'utf8')));
const call = (method, ...args) => promisify(client[method]).apply(client, args);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'windlass-node-'));

async function upload(name, text) {
  const source = path.join(folder, name) + '/';
  fs.mkdirSync(source);
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
