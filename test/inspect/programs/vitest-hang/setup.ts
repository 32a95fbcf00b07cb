/** Dumps the worker once a test says that it hangs, from a timer, then lets the test go on. */
import { writeFileSync } from 'node:fs'
import v8 from 'node:v8'
import { driveSync, withSession } from '../../../../src/inspect/drive.ts'
import { findAwaiters } from '../../../../src/inspect/heap/awaiters.ts'
import { findGenerators } from '../../../../src/inspect/heap/generators.ts'
import { HeapGraph } from '../../../../src/inspect/heap/graph.ts'
import { SnapshotParser } from '../../../../src/inspect/heap/parse.ts'
import { inspectSuspended } from '../../../../src/inspect/suspended.ts'

interface Hang {
  file: string
  release: () => void
}

const marks = globalThis as { hang?: Hang }
const options = {
  budgetMs: 20_000,
  ownerRule: { fn: 'harrowOwner', script: (url: string) => url.endsWith('/hang.case.ts') },
}

const now = performance.now.bind(performance)

const poll = setInterval(() => {
  const hang = marks.hang
  if (!hang) return
  clearInterval(poll)
  const laps: Record<string, number> = {}
  let began = now()
  const lap = (name: string): void => {
    laps[name] = Math.round(now() - began)
    began = now()
  }
  const parser = new SnapshotParser()
  const stream = v8.getHeapSnapshot()
  lap('snapshot')
  let bytes = 0
  for (let chunk = stream.read(); chunk !== null; chunk = stream.read()) {
    bytes += chunk.length
    parser.write(chunk)
  }
  const heap = new HeapGraph(parser.end())
  lap('parse')
  const generators = new Map(findGenerators(heap).map((generator) => [generator.node, generator]))
  lap('generators')
  const chain: string[] = []
  let at = [...generators.values()].find((generator) => generator.fn === 'plainBody')
  while (at && chain.length < 100) {
    chain.push(at.fn)
    at = findAwaiters(heap, at.results, generators, at.node)
      .map((node) => generators.get(node))
      .find((generator) => generator !== undefined)
  }
  lap('chain')
  const facts = withSession((post) => driveSync(inspectSuspended(heap, options), post))
  lap('inspect')
  const resolved = facts.suspended.filter((frame) => frame.at).length
  writeFileSync(
    hang.file,
    JSON.stringify({ facts, chain, laps, bytes, nodes: facts.nodes, resolved, generators: generators.size }),
  )
  hang.release()
}, 20)
poll.unref()
