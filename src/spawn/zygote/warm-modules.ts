/**
 * What the zygote has loaded of its warm list, by the names there. A child takes a module from here: to import one again that
 * is loaded, Node looks for its file anew, 2 ms of a birth of 15.
 */
export const warmModules = new Map<string, Record<string, unknown>>()
