import { truthOf } from '../../wire/truth.ts'
import { DockerfileError } from './errors.ts'
import { fieldsOf, readField } from './fields.ts'
import { withSuggestion } from './suggestion.ts'

/** `RUN --device=name,required`. */
interface Device {
  name: string
  required: boolean
}

const readRequired = (key: string, value: string): boolean => {
  const truth = truthOf(value)
  if (truth === undefined) throw new DockerfileError(`invalid value for ${key}: ${value}`)
  return truth
}

const addNamed = (device: Device, field: string): void => {
  const { key, value } = readField(field)
  if (value === undefined && key === 'required') device.required = true
  else if (key === 'required') device.required = readRequired(key, value ?? '')
  else if (value !== undefined && key === 'name') {
    if (device.name !== '') throw new DockerfileError(`device name already set to ${device.name}`)
    device.name = value
  } else if (device.name === '') device.name = field
  else if (value === undefined) throw new DockerfileError(`invalid field '${field}' must be a key=value pair`)
  else
    throw new DockerfileError(
      withSuggestion(`unexpected key '${key}' in '${field}'`, key, ['name', 'required']),
    )
}

export const readDevice = (text: string): Device => {
  const device = { name: '', required: false }
  for (const field of fieldsOf(text, 'devices')) addNamed(device, field)
  return device
}
