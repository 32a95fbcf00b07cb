const HINTS: Record<string, string> = {
  Timeout: 'clearTimeout(timer), or timer.unref() if the process need not wait for it',
  Interval: 'clearInterval(timer)',
  Server: 'await new Promise((done) => server.close(done)); for http first server.closeAllConnections()',
  UnixServer: 'await new Promise((done) => server.close(done)); it removes the socket file as well',
  Socket: 'socket.destroy(); for fetch pass a signal and abort it, or read the body to its end',
  UnixSocket: 'socket.destroy()',
  UdpSocket: 'socket.close()',
  Pipe: 'end the process that has inherited the other end, or child.stdout.destroy()',
  FSWatcher: 'watcher.close()',
  StatWatcher: 'fs.unwatchFile(path)',
  FileHandle: 'await handle.close(), or declare it with `await using`',
  Descriptor: 'fs.closeSync(fd)',
  Worker: 'await worker.terminate()',
  MessagePort: 'port.close()',
  BroadcastChannel: 'channel.close()',
  ChildProcess: "child.kill(), then await once(child, 'exit')",
  Signal: 'process.off(signal, listener)',
  Tty: 'stream.destroy(), or process.stdin.pause()',
  Immediate: 'clearImmediate(immediate)',
}

/** How a kind of handle is closed, in one line of code or words; see `LiveHandle.kind`. */
export function kindHint(kind: string): string {
  return Object.hasOwn(HINTS, kind) ? HINTS[kind]! : 'close it before the test ends'
}
