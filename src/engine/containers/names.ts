import { randomInt } from 'node:crypto'

/** Names for containers that got none: a mood and a thing of the sea or its people. */
const moods =
  `able agile amber ample azure bold brave breezy bright brisk calm candid careful cheerful clever coastal crisp
curious daring deep eager earnest easy fair fearless festive fine fond free fresh gallant gentle glad golden
graceful grand happy hardy hearty honest humble jolly keen kind lively loyal lucid lucky mellow merry mild modest
neat nimble noble open patient placid polite proud quick quiet ready robust salty serene sharp shiny silent smart
smooth snug solid spry stable steady still stout sturdy sunny swift tidal tidy tranquil trim true trusty upbeat
vivid warm watchful wise witty zesty`.split(/\s+/)

const things =
  `albatross anchor atoll barge barnacle bay beacon bosun bowline breaker brig buoy cabin cape captain cargo channel
clipper coast compass conch coral cove crane crew current cutter davit deck delta dinghy diver dock dolphin dory dune
estuary fathom ferry fjord flotilla frigate galleon galley gannet grotto gull gulf halyard harbor harpoon heron hull
island jetty kayak keel kelp ketch lagoon lantern lighthouse lugger mainsail manatee mariner marlin mast mooring
narwhal nautilus oar orca osprey otter pelican petrel pier pilot porpoise port puffin quay raft reef regatta rigging
rudder sailor schooner sextant shoal skiff sloop sounder spinnaker sprit squall starfish strait tern tide tiller
trawler trident turtle voyager walrus wharf whistle windlass yawl`.split(/\s+/)

/** `steady_beacon`; from the second attempt on with a digit, so that it ends also where many names are taken. */
export const randomName = (attempt: number): string => {
  const name = `${moods[randomInt(moods.length)]}_${things[randomInt(things.length)]}`
  return attempt === 0 ? name : `${name}${randomInt(10 ** attempt)}`
}
