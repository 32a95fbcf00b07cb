/**
 * Expressions that are evaluated in the process that is looked at. They read fields of Node's own objects and call nothing
 * of the program's.
 */

/** Who it is. */
export const ABOUT = `(() => {
  const { pid, version, platform, arch, argv, execArgv, title } = process;
  return JSON.stringify({ pid, version, platform, arch, argv, execArgv, title, cwd: process.cwd(), heapUsed: process.memoryUsage().heapUsed });
})()`

/** What is open. Each handle on its own, with what tells it from others; timers and requests by their number. */
export const RESOURCES = `(() => {
  const node = (name) => process.getBuiltinModule(name);
  const counts = {};
  for (const type of process.getActiveResourcesInfo()) counts[type] = (counts[type] ?? 0) + 1;
  const address = (host, port) => port === undefined ? '' : (String(host).includes(':') ? '[' + host + ']' : host) + ':' + port;
  const ref = (one) => { const h = one._handle ?? one; return typeof h?.hasRef === 'function' ? h.hasRef() : true };
  const net = node('node:net'), { ChildProcess } = node('node:child_process'), tty = node('node:tty');
  const list = [];
  for (const one of process._getActiveHandles?.() ?? []) {
    try {
      if (one instanceof net.Server) {
        const at = one.address();
        list.push({ type: typeof at === 'string' ? 'UnixServer' : 'Server', ref: ref(one), what: (typeof at === 'string' ? at : at ? address(at.address, at.port) : '') + (one._connections ? ', ' + one._connections + ' connections' : '') });
      } else if (one instanceof ChildProcess) {
        list.push({ type: 'ChildProcess', ref: ref(one), what: one.pid + ' ' + (one.spawnargs ?? []).join(' '), pid: one.pid });
      } else if (one instanceof tty.ReadStream || one instanceof tty.WriteStream) {
        list.push({ type: 'Tty', ref: ref(one), what: 'fd ' + one.fd });
      } else if (one instanceof net.Socket) {
        const std = [process.stdin, process.stdout, process.stderr].indexOf(one);
        const to = one.remotePort === undefined ? '' : (one.server ? 'from ' : 'to ') + address(one.remoteAddress, one.remotePort);
        list.push({ type: one.remotePort === undefined && one.connecting !== true ? 'Pipe' : 'Socket', ref: std < 1 && ref(one), what: std >= 0 ? ['stdin', 'stdout', 'stderr'][std] : to || (one.connecting ? 'connecting' : '') });
      } else {
        list.push({ type: one?.constructor?.name ?? 'Handle', ref: ref(one), what: '' });
      }
    } catch {}
    if (list.length >= 200) break;
  }
  return JSON.stringify({ counts, list });
})()`
