// The pages in a real browser: what a person does with them, by mouse, by keyboard, without JavaScript, on a phone.
import assert from 'node:assert';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import test, { after, before } from 'node:test';
import { chromium } from 'playwright-core';

const iron = JSON.parse(fs.readFileSync(process.env.IRON, 'utf8'));
const origin = `${iron.scheme}://${iron.host}:${iron.port}`;
const base = `/p/${iron.project_id}`;
const axe = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const api = async (method, path, body) => {
  const answer = await fetch(`${origin}/2/projects/${iron.project_id}${path}`, {
    method,
    headers: { Authorization: `OAuth ${iron.token}`, 'Content-Type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  assert.equal(answer.status, 200, `${method} ${path}`);
  return answer.json();
};
const queue = async (payload) => (await api('POST', '/tasks', { tasks: [{ code_name: 'worker', payload }] })).tasks[0].id;
const ended = async (payload) => {
  const id = await queue(payload);
  await api('GET', `/tasks/${id}?wait=20`);
  return id;
};

let browser;
const complaints = [];
before(async () => {
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
});
after(() => browser?.close());

/** A page that is logged in; what its console complains of, and requests to elsewhere, are remembered. */
async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.on('console', (message) => {
    // A network interface that comes or goes on this machine interrupts what a browser was loading; it loads it again.
    const isOurs = !message.text().includes('ERR_NETWORK_CHANGED');
    if (['error', 'warning'].includes(message.type()) && isOurs) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== origin) complaints.push(`asked ${request.url()}`);
  });
  await page.goto(origin);
  await page.getByLabel('Token').fill(iron.token);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.waitForURL(`${origin}${base}`);
  return page;
}

test('a task is queued by the form and seen to its end without reloading', async () => {
  const page = await open();
  await page.getByRole('link', { name: 'Tasks', exact: true }).click();
  await page.getByRole('link', { name: 'Queue a task' }).click();
  await page.getByLabel('Payload').fill('wait for the test');
  await page.getByRole('button', { name: 'Queue' }).click();
  await page.evaluate(() => { window.notReloaded = true; });
  await page.locator('h1 .is-running').waitFor();
  const log = page.getByRole('log');
  await log.getByText('begin wait for the test').waitFor();
  await log.locator('.c2', { hasText: 'tick' }).nth(3).waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.locator('h1 .is-cancelled').waitFor();
  await page.context().close();
});

test('changes reach pages that are open, at once', async () => {
  const page = await open();
  await page.goto(`${origin}${base}/tasks`);
  await page.evaluate(() => { window.notReloaded = true; });
  await page.waitForTimeout(1200);
  const id = await queue('live');
  const queuedAt = Date.now();
  await page.locator(`tr[data-row="${id}"]`).waitFor();
  const took = Date.now() - queuedAt;
  await page.locator(`tr[data-row="${id}"] .is-complete`).waitFor();
  assert.ok(await page.evaluate(() => window.notReloaded), 'it was swapped, not reloaded');
  console.log(`the first update took ${took} ms`);
  await page.context().close();
});

test('a failure says why, and is retried with another payload', async () => {
  const id = await ended('fail please');
  const page = await open();
  await page.goto(`${origin}${base}/tasks/${id}`);
  await page.getByText('this went wrong').first().waitFor();
  await page.getByText('exit 3', { exact: true }).waitFor();
  await page.getByRole('link', { name: 'Retry, changed…' }).click();
  await page.getByLabel('Payload').fill('better');
  await page.getByRole('button', { name: 'Queue' }).click();
  await page.locator('h1 .is-complete').waitFor();
  await page.getByText('"ok": true').waitFor();
  await page.context().close();
});

test('many are filtered, counted and retried', async () => {
  for (const n of [1, 2, 3]) await ended(`fail many ${n}`);
  const page = await open();
  await page.goto(`${origin}${base}/tasks`);
  await page.locator('label.pill.is-error').click();
  await page.waitForURL(/error=1/);
  await page.locator('#main').getByLabel('Text').fill('many');
  await page.getByRole('button', { name: 'Filter' }).click();
  await page.waitForURL(/text=many/);
  assert.equal(await page.locator('tbody tr').count(), 3);
  await page.getByLabel('Select all on this page').check();
  await page.getByRole('button', { name: 'Retry ticked' }).click();
  await page.getByText('3 tasks queued again').waitFor();
  await page.goto(`${origin}${base}/tasks?error=1`);
  await page.getByRole('button', { name: 'Retry everything that matches…' }).click();
  await page.getByRole('heading', { name: /^\d+ to retry/ }).waitFor();
  await page.getByRole('link', { name: 'Leave them' }).click();
  await page.context().close();
});

test('a schedule is made, changed and ended', async () => {
  const page = await open();
  await page.goto(`${origin}${base}/schedules/new`);
  await page.getByLabel('Name').fill('often');
  await page.getByLabel('Every').fill('600');
  await page.getByRole('button', { name: 'Make it' }).click();
  await page.getByRole('heading', { name: /often/ }).waitFor();
  await page.getByText('Change it').click();
  await page.getByLabel('Every').fill('7200');
  await page.getByRole('button', { name: 'Change', exact: true }).click();
  await page.getByText('2 h', { exact: true }).first().waitFor();
  await page.getByRole('button', { name: 'End it' }).click();
  await page.locator('h1 .is-cancelled').waitFor();
  await page.context().close();
});

test('the keyboard goes everywhere', async () => {
  const id = await ended('by keyboard');
  const page = await open();
  await page.keyboard.press('g');
  await page.keyboard.press('t');
  await page.waitForURL(/\/tasks$/);
  await page.keyboard.press('/');
  await page.keyboard.type('by keyboard');
  await page.keyboard.press('Enter');
  await page.waitForURL(/text=by/);
  await page.keyboard.press('j');
  await page.keyboard.press('x');
  assert.ok(await page.locator(`tr[data-row="${id}"] input`).isChecked());
  await page.keyboard.press('Enter');
  await page.waitForURL(new RegExp(id));
  await page.keyboard.press('?');
  await page.getByRole('heading', { name: 'Keys and words' }).waitFor();
  await page.context().close();
});

test('everything works without JavaScript', async () => {
  const page = await open({ javaScriptEnabled: false });
  await page.goto(`${origin}${base}/queue`);
  await page.getByLabel('Payload').fill('no script');
  await page.getByRole('button', { name: 'Queue' }).click();
  const id = page.url().split('/').at(-1);
  await api('GET', `/tasks/${id}?wait=20`);
  await page.reload();
  await page.locator('h1 .is-complete').waitFor();
  await page.getByText('begin no script').waitFor();
  await page.getByRole('button', { name: 'Retry', exact: true }).click();
  await page.getByText('Queued again, as a new task').waitFor();
  await page.context().close();
});

const script = (text) => ({ name: 'dropped.sh', mimeType: 'text/x-sh', buffer: Buffer.from(text) });

test('a package is uploaded by drag and drop, changed, and rolled back', async () => {
  const page = await open();
  await page.goto(`${origin}${base}/codes`);
  await page.getByRole('link', { name: 'New package' }).click();
  await page.locator('input[type=file]').setInputFiles(script('echo one\n'));
  await page.getByRole('button', { name: 'Upload' }).click();
  await page.getByText('Uploaded as revision 1').waitFor();
  await page.getByRole('heading', { name: 'dropped' }).waitFor();
  await page.evaluate(() => {
    const files = new DataTransfer();
    files.items.add(new File(['echo two; echo three\n'], 'dropped.sh'));
    const init = { dataTransfer: files, bubbles: true, cancelable: true };
    document.body.dispatchEvent(new DragEvent('dragover', init));
    window.wasShown = document.querySelector('[data-drop]').classList.contains('over');
    document.body.dispatchEvent(new DragEvent('drop', init));
  });
  assert.ok(await page.evaluate(() => window.wasShown), 'the page says that it takes the file');
  await page.keyboard.press('Enter');
  await page.getByText('Uploaded as revision 2').waitFor();
  await page.getByText('Limits, retries, network, config').click();
  await page.getByLabel('Memory').fill('64M');
  await page.getByLabel('At once').fill('2');
  await page.getByRole('button', { name: 'Change', exact: true }).click();
  await page.getByText('Changed: revision 3').waitFor();
  await page.locator('summary', { hasText: 'Variables' }).click();
  await page.getByLabel('Name of a new variable').first().fill('API_KEY');
  await page.getByLabel('Value of a new variable').first().fill('open sesame');
  await page.getByRole('button', { name: 'Save variables' }).click();
  await page.getByText('API_KEY=***', { exact: true }).waitFor();
  assert.ok(!(await page.content()).includes('sesame'), 'a value is never shown');
  await page.locator('.changes', { hasText: 'variable API_KEY' }).waitFor();
  await page.getByRole('button', { name: 'Roll back to revision 1' }).click();
  await page.getByText('Rolled back: revision 5 is like revision 1').waitFor();
  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  await page.locator('h1 .is-timeout', { hasText: 'paused' }).waitFor();
  await page.getByRole('button', { name: 'Resume', exact: true }).click();
  await page.getByText('Resumed').waitFor();
  await page.context().close();
});

test('an upload that is refused says why and loses nothing', async () => {
  const page = await open();
  await page.goto(`${origin}${base}/codes/new`);
  await page.getByLabel('Name').fill('broken');
  await page.locator('input[type=file]').setInputFiles({ name: 'x.zip', mimeType: 'application/zip', buffer: Buffer.from('PK\x03\x04 no more') });
  await page.getByLabel('Command').fill('./run');
  const before = complaints.length;
  await page.getByRole('button', { name: 'Upload' }).click();
  await page.getByRole('alert').filter({ hasText: 'file:' }).waitFor();
  assert.equal(await page.getByLabel('Command').inputValue(), './run');
  // The browser notes every answer that is no success.
  complaints.splice(before);
  await page.context().close();
});

test('a log is paused, searched and pointed at', async () => {
  const id = await queue('wait and be read');
  const page = await open();
  await page.goto(`${origin}${base}/tasks/${id}`);
  const log = page.getByRole('log');
  await log.locator('.c2', { hasText: 'tick' }).nth(1).waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  const lines = await log.locator('.l').count();
  await page.getByRole('button', { name: /^Resume \([1-9]/ }).waitFor();
  assert.equal(await log.locator('.l').count(), lines, 'nothing was added meanwhile');
  await page.getByRole('button', { name: /^Resume/ }).click();
  await page.waitForFunction((before) => document.querySelectorAll('.log .l').length > before, lines);
  await page.getByPlaceholder('Find').fill('be read');
  await page.getByText('1 of 1').waitFor();
  assert.equal(await log.locator('.hit').textContent().then((text) => text.includes('be read')), true);
  await log.locator('#L1 > a').click();
  assert.match(page.url(), /\?attempt=1&line=1#L1$/);
  const address = page.url();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.locator('h1 .is-cancelled').waitFor();
  await page.goto(`${origin}${base}`);
  await page.goto(address);
  assert.equal(await page.locator('.l:target').getAttribute('id'), 'L1');
  await page.locator('.timeline .is-cancelled').waitFor();
  await page.context().close();
});

test('a project is made, and the switcher leads back', async () => {
  const page = await open();
  await page.goto(`${origin}/projects`);
  await page.getByLabel('Name').fill('reports');
  await page.getByRole('button', { name: 'Make a project' }).click();
  await page.getByText('Made the project reports').waitFor();
  await page.getByRole('heading', { name: 'The first task' }).waitFor();
  await page.locator('.menu.project summary').click();
  await page.locator(`.menu.project a[href="${base}"]`).click();
  await page.waitForURL(`${origin}${base}`);
  await page.context().close();
});

test('packages are uploaded and changed without JavaScript', async () => {
  const page = await open({ javaScriptEnabled: false });
  await page.goto(`${origin}${base}/codes/new`);
  await page.getByLabel('Name').fill('plain');
  await page.locator('input[type=file]').setInputFiles(script('echo plain\n'));
  await page.getByRole('button', { name: 'Upload' }).click();
  await page.getByText('Uploaded as revision 1').waitFor();
  await page.getByText('Limits, retries, network, config').click();
  await page.getByLabel('Retries').fill('2');
  await page.getByRole('button', { name: 'Change', exact: true }).click();
  await page.getByText('Changed: revision 2').waitFor();
  await page.getByRole('button', { name: 'Roll back to revision 1' }).click();
  await page.getByText('Rolled back: revision 3 is like revision 1').waitFor();
  await page.context().close();
});

test('every page fits a phone, in both themes, and can be used by everybody', async () => {
  const id = await ended('fail for the record');
  const code = (await api('GET', '/codes')).codes[0].id;
  const pages = ['', '/tasks', `/tasks/${id}`, '/codes', `/codes/${code}`, '/codes/new', '/schedules', '/schedules/new', '/runners',
    '/tokens', '/queue'];
  for (const colorScheme of ['light', 'dark']) {
    const wide = await open({ colorScheme, bypassCSP: true });
    const phone = await open({ colorScheme, viewport: { width: 390, height: 800 } });
    for (const path of pages) {
      await wide.goto(`${origin}${base}${path}`);
      await wide.evaluate(axe);
      const found = await wide.evaluate(async () => (await globalThis.axe.run()).violations);
      const serious = found.filter(({ impact }) => ['serious', 'critical'].includes(impact));
      assert.deepEqual(
        serious.map(({ id: rule, nodes }) => `${rule}: ${nodes[0].html.slice(0, 160)}`), [], `${path} ${colorScheme}`);
      await phone.goto(`${origin}${base}${path}`);
      const over = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(over <= 0, `${path || '/'} is ${over} pixels too wide for a phone`);
    }
    await wide.context().close();
    await phone.context().close();
  }
});

test('no browser complained, and nothing was asked of another server', () => {
  assert.deepEqual(complaints, []);
});
