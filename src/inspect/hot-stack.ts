import { type InspectorClient, pause } from './client.ts'
import type { RawFrame } from './facts.ts'

interface ProfileNode {
  id: number
  callFrame: { functionName: string; url: string; lineNumber: number; columnNumber: number }
  hitCount?: number
  children?: number[]
  positionTicks?: { line: number; ticks: number }[]
}

const INTERVAL_US = 100
const MOST_FRAMES = 60

/**
 * The stack that a busy thread is found in most often, innermost first, from a CPU profile of a moment. For a thread that
 * runs a great many short callbacks: a single stop lands between two of them, in Node's own code.
 *
 * @param wanted which scripts the stack must reach
 * @param ms how long to watch
 * @returns nothing when no sample lay in a wanted script
 */
export async function hottestStack(
  client: InspectorClient,
  wanted: (url: string) => boolean,
  ms: number,
): Promise<RawFrame[]> {
  await client.post('Profiler.enable')
  try {
    await Promise.all([
      client.post('Profiler.setSamplingInterval', { interval: INTERVAL_US }),
      client.post('Profiler.start'),
    ])
    await pause(ms)
    const { profile } = (await client.post('Profiler.stop')) as { profile: { nodes: ProfileNode[] } }
    return stackOf(profile.nodes, wanted)
  } finally {
    client.post('Profiler.disable').catch(() => {})
  }
}

function stackOf(nodes: ProfileNode[], wanted: (url: string) => boolean): RawFrame[] {
  const parents = new Map<number, ProfileNode>()
  for (const node of nodes) for (const child of node.children ?? []) parents.set(child, node)
  const hot = nodes
    .filter((node) => wanted(node.callFrame.url))
    .sort((a, b) => (b.hitCount ?? 0) - (a.hitCount ?? 0))[0]
  const frames: RawFrame[] = []
  for (let node = hot; node !== undefined && frames.length < MOST_FRAMES; node = parents.get(node.id)) {
    const { functionName, url, lineNumber, columnNumber } = node.callFrame
    if (functionName === '(root)') break
    const line = [...(node.positionTicks ?? [])].sort((a, b) => b.ticks - a.ticks)[0]?.line
    const at = line === undefined ? { url, line: lineNumber + 1, column: columnNumber + 1 } : { url, line, column: 1 }
    frames.push({ fn: functionName, at: url === '' ? null : at })
  }
  return frames
}
