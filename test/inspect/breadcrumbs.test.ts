import childProcess, { execSync as namedExecSync } from 'node:child_process'
import crypto, { pbkdf2Sync as namedPbkdf2Sync } from 'node:crypto'
import fs, { readFileSync as namedReadFileSync } from 'node:fs'
import { join } from 'node:path'
import util from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type BreadcrumbSink, installBreadcrumbs, noteCryptoCalls } from '../../src/inspect/breadcrumbs.ts'
import type { Breadcrumb } from '../../src/inspect/facts.ts'
import { Sandbox, until } from '../process/sandbox.ts'

const WRAPPED = {
  fs: 'openSync readFileSync writeFileSync appendFileSync readSync writeSync readvSync writevSync copyFileSync',
  childProcess: 'execSync execFileSync spawnSync',
}

/** Opens a FIFO at both ends, which does not wait for anybody. */
const openBothEnds = (path: string) => fs.openSync(path, fs.constants.O_RDWR)

describe.skipIf(process.platform === 'win32')('breadcrumbs', () => {
  let box: Sandbox
  let crumbs: Breadcrumb[]
  let depth: number
  const uninstall: (() => void)[] = []
  const install = (sink: Partial<BreadcrumbSink> = {}) => {
    const remove = installBreadcrumbs({
      enter(crumb) {
        crumbs.push(crumb)
        depth++
      },
      leave() {
        depth--
      },
      ...sink,
    })
    uninstall.push(remove)
    return remove
  }

  beforeEach(() => {
    box = new Sandbox()
    crumbs = []
    depth = 0
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    vi.useRealTimers()
    for (const remove of uninstall.splice(0)) remove()
    await box.end()
  })

  it('notes a command with its call site before it runs and erases the note after', () => {
    install({
      enter(crumb) {
        crumbs.push(crumb)
        expect(fs.existsSync(join(box.folder, 'ran'))).toBe(false)
        depth++
      },
    })
    function caller() {
      return childProcess.execSync(`touch ${box.folder}/ran; echo out`, { encoding: 'utf8' })
    }
    const before = Date.now()
    expect(caller()).toBe('out\n')
    expect(depth).toBe(0)
    expect(crumbs).toHaveLength(1)
    const [crumb] = crumbs
    expect(crumb).toMatchObject({ call: 'child_process.execSync', detail: `touch ${box.folder}/ran; echo out` })
    expect(crumb!.since).toBeGreaterThanOrEqual(before)
    expect(crumb!.frames[0]).toMatchObject({
      fn: 'caller',
      at: { url: expect.stringContaining('breadcrumbs.test.ts') },
    })
    expect(crumb!.frames.length).toBeLessThanOrEqual(12)
  })

  it('notes the file and the arguments of execFileSync and spawnSync', () => {
    install()
    childProcess.execFileSync('echo', ['a', 'b'])
    childProcess.spawnSync('echo', { shell: false })
    expect(crumbs.map(({ call, detail }) => `${call} ${detail}`)).toEqual([
      'child_process.execFileSync echo a b',
      'child_process.spawnSync echo',
    ])
  })

  it('notes Atomics.wait, but not one that may not wait at all', () => {
    install()
    const cells = new Int32Array(new SharedArrayBuffer(8))
    expect(Atomics.wait(cells, 1, 0, 2)).toBe('timed-out')
    expect(Atomics.wait(cells, 1, 0, 0)).toBe('timed-out')
    expect(Atomics.wait(cells, 1, 7)).toBe('not-equal')
    expect(crumbs.map((crumb) => crumb.detail)).toEqual(['index 1, at most 2 ms', 'index 1, no time limit'])
  })

  it('notes calls on a FIFO, by its path and by its descriptor', () => {
    const fifo = box.fifo('queue')
    install()
    const fd = openBothEnds(fifo)
    fs.writeSync(fd, 'abc')
    expect(fs.readSync(fd, Buffer.alloc(3))).toBe(3)
    fs.closeSync(fd)
    expect(crumbs.map(({ call, detail }) => `${call}: ${detail}`)).toEqual([
      `fs.openSync: ${fifo}`,
      `fs.writeSync: fd ${fd} (${fifo})`,
      `fs.readSync: fd ${fd} (${fifo})`,
    ])
  })

  it('does not tell the path of a descriptor number that was closed and used again', () => {
    const fifo = box.fifo('first')
    install()
    const fd = openBothEnds(fifo)
    fs.closeSync(fd)
    const again = openBothEnds(box.fifo('second'))
    expect(again).toBe(fd)
    fs.writeSync(again, 'x')
    fs.closeSync(again)
    expect(crumbs.at(-1)?.detail).toMatch(/second\)$/)
  })

  it('makes no note for regular files, directories and missing files', () => {
    install()
    const path = join(box.folder, 'file')
    fs.writeFileSync(path, 'text')
    fs.appendFileSync(path, '!')
    fs.copyFileSync(path, `${path}2`)
    expect(fs.readFileSync(path, 'utf8')).toBe('text!')
    const fd = fs.openSync(path, 'r+')
    fs.readSync(fd, Buffer.alloc(1))
    fs.writeSync(fd, 'y')
    fs.closeSync(fd)
    expect(() => fs.readFileSync(box.folder)).toThrow(/EISDIR/)
    expect(() => fs.readFileSync(`${path}3`)).toThrow(/ENOENT/)
    fs.writeFileSync('/dev/null', 'x')
    expect(crumbs).toEqual([])
  })

  it('throws what the call throws, and erases the note', () => {
    install()
    expect(() => childProcess.execSync('exit 3', { stdio: 'ignore' })).toThrow(expect.objectContaining({ status: 3 }))
    expect(() => fs.readFileSync(undefined as unknown as string)).toThrow(/ERR_INVALID_ARG_TYPE|must be/)
    expect(() => Atomics.wait(new Int32Array(4), 0, 0)).toThrow(TypeError)
    expect(depth).toBe(0)
  })

  it('looks like the functions that it wraps', () => {
    const modules = { fs, childProcess } as unknown as Record<string, Record<string, (...args: unknown[]) => unknown>>
    const looks = () =>
      Object.entries(WRAPPED).flatMap(([module, names]) =>
        names.split(' ').map((name) => {
          const fn = modules[module]![name]!
          const property = Object.getOwnPropertyDescriptor(modules[module], name)
          const { value: _, ...flags } = property!
          return [
            name,
            fn.name,
            fn.length,
            Reflect.ownKeys(fn),
            flags,
            util.types.isProxy(fn),
            util.types.isAsyncFunction(fn),
          ]
        }),
      )
    const before = looks()
    const own = Symbol('own')
    Object.assign(fs.readFileSync, { [own]: 1 })
    install()
    expect((fs.readFileSync as unknown as Record<symbol, number>)[own]).toBe(1)
    Reflect.deleteProperty(fs.readFileSync, own)
    expect(looks()).toEqual(before)
    expect([Atomics.wait.name, Atomics.wait.length]).toEqual(['wait', 4])
    expect('prototype' in Atomics.wait).toBe(false)
  })

  it('is seen by named imports, and the originals come back', () => {
    const { readFileSync } = fs
    const { execSync } = childProcess
    const { wait } = Atomics
    const remove = install()
    namedExecSync('true')
    expect(crumbs).toHaveLength(1)
    expect(namedReadFileSync).toBe(fs.readFileSync)
    expect(fs.readFileSync).not.toBe(readFileSync)
    remove()
    expect([fs.readFileSync, childProcess.execSync, Atomics.wait]).toEqual([readFileSync, execSync, wait])
    expect(namedReadFileSync).toBe(readFileSync)
    namedExecSync('true')
    expect(crumbs).toHaveLength(1)
  })

  it('gives each of two sinks one note and one end', () => {
    const second: string[] = []
    const first = install()
    install({ enter: (crumb) => second.push(crumb.call), leave: () => second.push('left') })
    childProcess.execSync('true')
    expect(crumbs).toHaveLength(1)
    expect(second).toEqual(['child_process.execSync', 'left'])
    first()
    first()
    childProcess.execSync('true')
    expect(crumbs).toHaveLength(1)
    expect(second).toHaveLength(4)
  })

  it('gets along with spies set before and after it', () => {
    const { readFileSync } = fs
    const early = vi.spyOn(fs, 'readFileSync').mockReturnValue('early')
    const remove = install()
    expect(fs.readFileSync('/')).toBe('early')
    const late = vi.spyOn(childProcess, 'spawnSync')
    childProcess.spawnSync('true')
    expect(late).toHaveBeenCalledOnce()
    expect(crumbs).toHaveLength(1)
    late.mockRestore()
    remove()
    early.mockRestore()
    expect(fs.readFileSync).toBe(readFileSync)
  })

  it('keeps the outer note when one wrapped call makes another one', () => {
    const fd = openBothEnds(box.fifo('queue'))
    install()
    vi.spyOn(fs, 'writeSync')
    fs.appendFileSync(fd, Buffer.from('abc'))
    expect(fs.writeSync).toHaveBeenCalled()
    expect(crumbs.map((crumb) => crumb.call)).toEqual(['fs.appendFileSync'])
    fs.closeSync(fd)
  })

  it('is not confused by what a test does to Error and to Date', () => {
    install()
    const { prepareStackTrace, stackTraceLimit } = Error
    const prepare = () => 'mine'
    vi.useFakeTimers({ now: 0 })
    try {
      Error.prepareStackTrace = prepare
      Error.stackTraceLimit = 0
      childProcess.execSync('true')
      expect(Error.prepareStackTrace).toBe(prepare)
      expect(Error.stackTraceLimit).toBe(0)
    } finally {
      Error.prepareStackTrace = prepareStackTrace
      Error.stackTraceLimit = stackTraceLimit
    }
    expect(crumbs[0]!.frames[0]?.at?.url).toContain('breadcrumbs.test.ts')
    expect(crumbs[0]!.since).toBeGreaterThan(1e12)
  })

  it('redacts before it shortens', () => {
    install({ redact: (text) => text.replaceAll(/secret-\w+/g, '***') })
    childProcess.execSync(`: ${'x'.repeat(190)} secret-${'y'.repeat(50)}`)
    expect(crumbs[0]!.detail).toHaveLength(196)
    expect(crumbs[0]!.detail).toMatch(/ \*\*\*$/)
    childProcess.execSync(`: ${'x'.repeat(500)}`)
    expect(crumbs[1]!.detail).toHaveLength(200)
  })

  it('lets the call go on when a sink throws, and asks whether it is on', () => {
    let on = false
    const fail = () => {
      throw new Error('broken sink')
    }
    install({ isOn: () => on })
    install({ enter: fail, leave: fail })
    expect(childProcess.execSync('echo 1').toString()).toBe('1\n')
    expect(crumbs).toEqual([])
    on = true
    expect(childProcess.execSync('echo 2').toString()).toBe('2\n')
    expect(crumbs).toHaveLength(1)
  })

  it('notes what node:crypto computes, once it is loaded, without what is secret in it', () => {
    install()
    noteCryptoCalls()
    expect(namedPbkdf2Sync('hunter2', 'salt', 3, 8, 'sha256')).toHaveLength(8)
    crypto.scryptSync('hunter2', 'salt', 8, { N: 16 })
    crypto.generateKeyPairSync('ed25519')
    expect(crumbs.map(({ call, detail }) => [call, detail])).toEqual([
      ['crypto.pbkdf2Sync', '3 iterations of sha256'],
      ['crypto.scryptSync', 'cost 16'],
      ['crypto.generateKeyPairSync', 'ed25519'],
    ])
    expect(crumbs[0]!.frames[0]?.at?.url).toMatch(/breadcrumbs\.test\.ts/)
    expect(depth).toBe(0)
    const wrapped = crypto.pbkdf2Sync
    noteCryptoCalls()
    expect(crypto.pbkdf2Sync).toBe(wrapped)
    for (const remove of uninstall.splice(0)) remove()
    expect(crypto.pbkdf2Sync).not.toBe(wrapped)
  })

  it('leaves its note behind in a process that hangs in a FIFO', async () => {
    const fifo = box.fifo('queue')
    const note = join(box.folder, 'note')
    const code = `
      import fs from 'node:fs'
      import { installBreadcrumbs } from ${JSON.stringify(new URL('../../src/inspect/breadcrumbs.ts', import.meta.url).href)}
      installBreadcrumbs({ enter: (crumb) => fs.writeFileSync(${JSON.stringify(note)}, JSON.stringify(crumb)), leave() {} })
      fs.readFileSync(${JSON.stringify(fifo)})`
    box.start(process.execPath, ['--experimental-strip-types', '--no-warnings', '--input-type=module', '-e', code])
    await until(() => fs.existsSync(note) && fs.readFileSync(note, 'utf8').endsWith('}'))
    const crumb = JSON.parse(fs.readFileSync(note, 'utf8')) as Breadcrumb
    expect(crumb).toMatchObject({ call: 'fs.readFileSync', detail: fifo })
    expect(crumb.frames[0]?.at?.line).toBe(5)
  })
})
