import { dirname, isAbsolute, relative, resolve, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { originalPositionFor, type SourceMapInput, sourceContentFor, TraceMap } from '@jridgewell/trace-mapping'
import type { Site } from '../errors.ts'
import type { Position, RawFrame, SuspendedFunction } from '../inspect/facts.ts'
import type { AwaitFrame, Frame } from './facts.ts'
import { readRegularFile, SourceTexts } from './source-text.ts'

/** Translates positions of running code into lines that the user wrote. */
export interface Mapper {
  site(at: Position): Site
  frame(raw: RawFrame): Frame
  awaitFrame(suspended: SuspendedFunction): AwaitFrame
}

/** Gives the map of a generated file by its absolute path; undefined when there is none. */
export type GetMap = (path: string) => unknown

/** Maps larger than this are not parsed. */
const MAP_LIMIT = 16 * 1024 * 1024
const UNKNOWN: Site = { path: '<unknown>', line: 1 }

/**
 * A mapper for the files of one project.
 *
 * A position is looked up in the map that `getMap` answers, else in the one that the generated file itself names
 * (`sourceMappingURL`, inline or a file beside it). Maps are read once. Whatever is wrong with a map, nothing is thrown:
 * the position then stays the generated one.
 *
 * @param getMap maps known otherwise, for example the results of vite's transforms (object or JSON text)
 * @param root absolute path; paths of sites are relative to it, with `/`
 */
export function createMapper(getMap: GetMap, root: string): Mapper {
  const maps = new Map<string, TraceMap | null>()
  const texts = new SourceTexts()

  function mapOf(path: string): TraceMap | null {
    const known = maps.get(path)
    if (known !== undefined) return known
    const map = given(getMap, path) ?? namedByFile(path)
    maps.set(path, map)
    return map
  }

  function locate(at: Position): { site: Site; user: boolean; source?: string; next?: string } {
    const path = pathOf(at.url)
    const generated = siteOf(path ?? at.url, at.line, at.column, root)
    if (path === null) return { site: generated, user: false }
    const map = mapOf(path)
    const original = map === null ? null : trace(map, at)
    if (original === null) return { site: generated, user: isUserPath(path), ...texts.at(path, at.line) }
    const site = siteOf(original.path, original.line, original.column, root)
    // A published package may carry a map to sources that lie outside node_modules: where it runs decides.
    const user = isUserPath(path) && isUserPath(original.path)
    return { site, user, ...texts.at(original.path, original.line, original.content) }
  }

  return {
    site: (at) => locate(at).site,

    frame(raw) {
      const found = raw.at === null ? { site: UNKNOWN, user: false } : locate(raw.at)
      return { fn: raw.fn === '' ? '<anonymous>' : raw.fn, ...found, ...(raw.locals && { locals: raw.locals }) }
    },

    awaitFrame(suspended) {
      const at = suspended.at ?? suspended.definedAt ?? { url: suspended.script, line: 1, column: 1 }
      const found = suspended.script === '' && at.url === '' ? { site: UNKNOWN } : locate(at)
      return {
        fn: suspended.fn === '' ? '<anonymous>' : suspended.fn,
        ...found,
        user: suspended.user,
        id: suspended.id,
        awaitedBy: suspended.awaitedBy,
        owner: suspended.owner,
        heldBy: suspended.heldBy,
        ...(suspended.members && { members: suspended.members }),
        ...(suspended.definedAt && suspended.user && { definedAt: locate(suspended.definedAt).site }),
        exact: suspended.at !== null,
        ...(suspended.count !== undefined && { count: suspended.count }),
        ...(suspended.locals && { locals: suspended.locals }),
      }
    },
  }
}

function given(getMap: GetMap, path: string): TraceMap | null {
  try {
    return parse(getMap(path), path)
  } catch {
    return null
  }
}

/** The last comment counts: an earlier one may be part of bundled text. */
const COMMENT = /^[ \t]*(?:\/\/|\/\*)[#@][ \t]*sourceMappingURL=([^\s'"*]+)/gm

function namedByFile(path: string): TraceMap | null {
  try {
    const code = readRegularFile(path)
    const url = code === null ? undefined : [...code.matchAll(COMMENT)].at(-1)?.[1]
    if (url === undefined) return null
    if (url.startsWith('data:')) return parse(decodeDataUrl(url), path)
    if (/^[a-z][a-z\d+.-]+:/i.test(url) && !url.startsWith('file:')) return null
    const file = url.startsWith('file:') ? fileURLToPath(url) : resolve(dirname(path), decodeURI(cleanPath(url)))
    return parse(readRegularFile(file), file)
  } catch {
    return null
  }
}

function decodeDataUrl(url: string): string | null {
  const comma = url.indexOf(',')
  if (comma < 0) return null
  const body = url.slice(comma + 1)
  return /;base64$/i.test(url.slice(0, comma)) ? Buffer.from(body, 'base64').toString('utf8') : decodeURIComponent(body)
}

/** `path` is the file that relative sources are relative to. Throws on a broken map; the callers catch. */
function parse(raw: unknown, path: string): TraceMap | null {
  if (typeof raw === 'string') {
    if (raw.length > MAP_LIMIT) return null
    return parse(JSON.parse(raw.replace(/^\)\]\}'[^\n]*\n/, '')), path)
  }
  if (typeof raw !== 'object' || raw === null) return null
  const { mappings, sources } = raw as { mappings?: unknown; sources?: unknown }
  // vite marks "nothing was changed" by a map with empty mappings.
  if (!Array.isArray(sources) || (typeof mappings !== 'string' && !Array.isArray(mappings)) || mappings.length === 0) {
    return null
  }
  return new TraceMap(raw as SourceMapInput, pathToFileURL(path).href)
}

interface Original {
  path: string
  line: number
  column: number
  content: string | null
}

function trace(map: TraceMap, at: Position): Original | null {
  try {
    const needle = { line: at.line, column: Math.max(0, at.column - 1) }
    let found = originalPositionFor(map, needle)
    // Code before the first segment of a line (an inserted prefix) belongs to what follows it.
    if (found.source === null) found = originalPositionFor(map, { ...needle, bias: -1 })
    if (found.source === null || !(found.line >= 1) || !(found.column >= 0)) return null
    const path = pathOf(found.source)
    if (path === null) return null
    return { path, line: found.line, column: found.column + 1, content: sourceContentFor(map, found.source) }
  } catch {
    return null
  }
}

/** Absolute path of a script url; null for what is no file (`node:`, `evalmachine.<anonymous>`, `webpack:`). */
function pathOf(url: string): string | null {
  try {
    if (url.startsWith('file:')) return fileURLToPath(cleanPath(url))
  } catch {
    return null
  }
  const path = cleanPath(url.startsWith('/@fs/') ? url.slice('/@fs'.length) : url)
  return isAbsolute(path) ? path : null
}

/** Without the query and hash that loaders append (`?v=123`); a `#` in a folder name stays. */
function cleanPath(path: string): string {
  return path.replace(/[?#][^/\\]*$/, '')
}

function siteOf(path: string, line: number, column: number, root: string): Site {
  const inProject = isAbsolute(path) ? relative(root, path) : path
  // A way that climbs out of the project cannot be clicked from everywhere.
  const shown = inProject.startsWith('..') ? path : inProject
  return { path: sep === '/' ? shown : shown.replaceAll(sep, '/'), line, column }
}

const OWN = ownFolders()

/** True for the user's code: not `node:`, not `node_modules`, not harrow's own files. */
export function isUserPath(path: string): boolean {
  if (!isAbsolute(path) || /[\\/]node_modules[\\/]/.test(path)) return false
  return !OWN.some((folder) => path.startsWith(folder))
}

/** This file is `src/dump/source-map.ts` in a checkout and `dist/src/dump/source-map.js` in the package. */
function ownFolders(): string[] {
  const above = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..')
  if (above.endsWith(`${sep}dist`)) return [above + sep]
  return ['src', 'harness', 'reporters', 'scripts', 'dist'].map((folder) => resolve(above, folder) + sep)
}
