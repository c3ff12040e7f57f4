-- Wireshark dissector of Rollcall's discovery, sealed form version 1 (fields: internal/discover/doc.go).
-- Use: tshark -X lua_script:docs/rcl1.lua, or copy it to ~/.local/lib/wireshark/plugins/.
local rcl1 = Proto("rcl1", "Rollcall discovery")
local types = { [1] = "request", [2] = "reply", [3] = "hello", [4] = "relay" }
local kinds = { [1] = "ticket", [2] = "offer", [3] = "order", [4] = "batch" }

-- Fields by type: name, text, offset, size, and what it is (default: a number).
local layout = {
  [1] = {
    { "flags", "Flags", 6, 2, "hex" }, { "sweep", "Sweep", 8, 8 }, { "time", "Time", 16, 8, "ms" },
    { "operator", "Operator key", 24, 8, "bytes" }, { "requester", "Requester", 32, 16, "ipv6" },
    { "mac", "Requester's MAC", 48, 6, "ether" }, { "prefix", "Prefix length", 54, 1 }, { "copies", "Copies", 55, 1 },
    { "replyport", "Reply port", 56, 2 }, { "round", "Round", 58, 2 }, { "seq", "Seq", 60, 4 },
    { "window", "Window (us)", 64, 4 }, { "sample", "Sample", 68, 8, "bytes" }, { "lo", "Range from", 76, 8, "bytes" },
    { "hi", "Range to", 84, 8, "bytes" }, { "salt", "Salt", 92, 8, "bytes" }, { "bodylen", "Body length", 100, 2 },
  },
  [2] = {
    { "flags", "Flags", 6, 2, "hex" }, { "host", "Host", 8, 8, "bytes" }, { "key", "Host key", 16, 8, "bytes" },
    { "sweep", "Sweep", 24, 8 }, { "round", "Round", 32, 2 }, { "page", "Page", 34, 1 }, { "pages", "Pages", 35, 1 },
    { "edition", "Edition", 36, 2 }, { "seq", "Seq", 38, 4 }, { "first", "First seq heard", 42, 4 },
    { "tx", "Replies sent", 46, 2 }, { "mac", "Host's MAC", 48, 6, "ether" }, { "delay", "Delay (us)", 54, 4 },
    { "age", "Age (s)", 58, 4 }, { "bodylen", "Body length", 62, 2 },
  },
  [3] = {
    { "flags", "Flags", 6, 2, "hex" }, { "host", "Host", 8, 8, "bytes" }, { "key", "Host key", 16, 8, "bytes" },
    { "time", "Time", 24, 8, "ms" }, { "seq", "Seq", 32, 4 }, { "age", "Age (s)", 36, 4 }, { "mac", "Host's MAC", 40, 6, "ether" },
    { "edition", "Edition", 46, 2 }, { "boot", "Boot id", 48, 16, "bytes" },
  },
  [4] = {
    { "kind", "Kind", 6, 1, "kind" }, { "flags", "Flags", 7, 1 }, { "sweep", "Sweep", 8, 8 }, { "operator", "Operator key", 16, 8, "bytes" },
    { "time", "Time", 24, 8, "ms" }, { "number", "Number", 32, 4 }, { "bodylen", "Body length", 36, 2 },
  },
}
-- What only a ticket has.
local ticket = {
  { "requester", "Requester", 40, 16, "ipv6" }, { "relay", "Relay", 56, 16, "ipv6" }, { "network", "Network", 72, 16, "ipv6" },
  { "prefix", "Prefix length", 88, 1 },
}
-- The keys of a request's body.
local keys = {
  { "filter", "Filter", "bytes" }, { "hashes", "Hashes of the filter" }, { "want", "Selector", "text" }, { "broker", "Broker port" },
  { "topic", "Topic", "text" }, { "wanted", "Page" }, { "cookie", "Cookie", "bytes" }, { "changed", "Changed within (ms)" },
  { "names", "Hosts named", "bytes" },
}
local header = { [1] = 102, [2] = 64, [3] = 64, [4] = 40 }
local signed = { [1] = 1, [2] = 16, [3] = 1, [4] = 256 } -- the flag that says so

local f = {
  version = ProtoField.uint8("rcl1.version", "Version"),
  type = ProtoField.uint8("rcl1.type", "Type", base.DEC, types),
  body = ProtoField.bytes("rcl1.body", "Body"),
  box = ProtoField.bytes("rcl1.box", "Body, encrypted"),
  tag = ProtoField.bytes("rcl1.tag", "Group tag"),
  host_tag = ProtoField.bytes("rcl1.host_tag", "Host tag"),
  host_tags = ProtoField.uint16("rcl1.host_tags", "Host tags"),
  public = ProtoField.bytes("rcl1.public", "Host's public key"),
  signature = ProtoField.bytes("rcl1.signature", "Signature"),
  tail = ProtoField.bytes("rcl1.tail", "Tail"),
}
local make = {
  hex = function(n, t, s) return ProtoField.uint16(n, t, base.HEX) end,
  bytes = function(n, t) return ProtoField.bytes(n, t) end,
  kind = function(n, t) return ProtoField.uint8(n, t, base.DEC, kinds) end,
  ipv6 = function(n, t) return ProtoField.ipv6(n, t) end,
  ether = function(n, t) return ProtoField.ether(n, t) end,
  ms = function(n, t) return ProtoField.absolute_time(n, t, base.UTC) end,
  text = function(n, t) return ProtoField.string(n, t) end,
  number = function(n, t, size)
    return (size == 8 and ProtoField.uint64 or size == 4 and ProtoField.uint32 or size == 2 and ProtoField.uint16 or ProtoField.uint8)(n, t)
  end,
}
local function declare(kind, list)
  for _, d in ipairs(list) do
    f[types[kind] .. "_" .. d[1]] = make[d[5] or "number"]("rcl1." .. types[kind] .. "." .. d[1], d[2], d[4])
  end
end
for kind, list in pairs(layout) do declare(kind, list) end
declare(4, ticket)
for _, k in ipairs(keys) do f["request_" .. k[1]] = make[k[3] or "number"]("rcl1.request." .. k[1], k[2], 4) end
rcl1.fields = f
local short = ProtoExpert.new("rcl1.short", "Datagram is cut off", expert.group.MALFORMED, expert.severity.ERROR)
rcl1.experts = { short }

local function value(tree, field, range, what)
  if what ~= "ms" then return tree:add(field, range) end
  local ms = range:uint64():tonumber()
  return tree:add(field, range, NSTime.new(math.floor(ms / 1000), (ms % 1000) * 1000000))
end

-- One item of CBOR (RFC 8949) at an offset: its kind, its number or length, and where what follows its head begins.
local function item(tvb, at)
  local kind, n = bit.rshift(tvb(at, 1):uint(), 5), bit.band(tvb(at, 1):uint(), 31)
  local more = ({ [24] = 1, [25] = 2, [26] = 4 })[n]
  if more then return kind, tvb(at + 1, more):uint(), at + 1 + more end
  return kind, n, at + 1
end

-- The body of a request, which is a map of numbers, bytes and texts: the hosts refuse all others, and so may this.
local function request(tree, tvb)
  local kind, pairs, at = item(tvb, 0)
  if kind ~= 5 then return end
  for _ = 1, pairs do
    local _, key, from = item(tvb, at)
    local sort, n, data = item(tvb, from)
    local last = (sort == 2 or sort == 3) and data + n or data
    local known = keys[key]
    if known then
      local field = f["request_" .. known[1]]
      if sort == 0 then tree:add(field, tvb(from, last - from), n) else tree:add(field, tvb(data, n)) end
    end
    at = last
  end
end

local function body(tree, tvb, pinfo, from, len, sealed, asks)
  if len == 0 then return end
  if sealed then tree:add(f.box, tvb(from, len)) return end
  local sub = tree:add(f.body, tvb(from, len))
  local cbor = Dissector.get("cbor")
  if cbor then cbor:call(tvb(from, len):tvb(), pinfo, sub) end
  if asks and not pcall(request, sub, tvb(from, len):tvb()) then sub:add_proto_expert_info(short) end
end

-- What is about relaying: a ticket is open, the bodies of the others are encrypted.
local function relay(tvb, pinfo, tree)
  local kind, last = tvb(6, 1):uint(), tvb:len()
  local len = tvb(36, 2):uint()
  local early = bit.band(tvb(7, 1):uint(), 2) ~= 0 and "early " or ""
  pinfo.cols.info = "relay " .. early .. (kinds[kind] or kind) .. " sweep=" .. tostring(tvb(8, 8):uint64()) .. " number=" .. tvb(32, 4):uint()
  if (kind == 1 and last ~= 512) or 40 + len > last then tree:add_proto_expert_info(short) return last end
  if kind == 1 then
    for _, d in ipairs(ticket) do value(tree, f["relay_" .. d[1]], tvb(d[3], d[4]), d[5]) end
    tree:add(f.tag, tvb(440, 8))
    tree:add(f.signature, tvb(448, 64))
    return last
  end
  local at = 40
  if kind == 2 and len > 32 then
    tree:add(f.public, tvb(at, 32))
    at, len = at + 32, len - 32
  end
  if len > 0 then tree:add(f.box, tvb(at, len)) end
  if at + len + 64 <= last then tree:add(f.signature, tvb(at + len, 64)) end
  return last
end

function rcl1.dissector(tvb, pinfo, root)
  if tvb:len() < 8 or tvb(0, 4):string() ~= "RCL1" then return 0 end
  local kind = tvb(5, 1):uint()
  pinfo.cols.protocol = "RCL1"
  local tree = root:add(rcl1, tvb(), "Rollcall " .. (types[kind] or "type " .. kind))
  tree:add(f.version, tvb(4, 1))
  tree:add(f.type, tvb(5, 1))
  if tvb(4, 1):uint() ~= 1 or not layout[kind] then return tvb:len() end
  local size = header[kind]
  if tvb:len() < size then tree:add_proto_expert_info(short) return tvb:len() end
  for _, d in ipairs(layout[kind]) do
    value(tree, f[types[kind] .. "_" .. d[1]], tvb(d[3], d[4]), d[5])
  end
  if kind == 4 then return relay(tvb, pinfo, tree) end
  local flags, last = tvb(6, 2):uint(), tvb:len()
  local is_signed = bit.band(flags, signed[kind]) ~= 0
  if kind == 1 and last % 2 == 1 then
    last = last - 1
    tree:add(f.tail, tvb(last, 1))
  end
  if kind == 1 and bit.band(flags, 8) ~= 0 and last >= size + 8 then
    local n = tvb(last - 8, 2):uint()
    tree:add(f.host_tags, tvb(last - 8, 2))
    last = last - 8 - 8 * n
    if last < size then tree:add_proto_expert_info(short) return tvb:len() end
    for i = 0, n - 1 do tree:add(f.host_tag, tvb(last + 8 * i, 8)) end
  end
  if is_signed and last >= size + 64 then
    last = last - 64
    tree:add(f.signature, tvb(last, 64))
  end
  local info = types[kind]
  if kind == 3 then
    if last >= size + 32 then tree:add(f.public, tvb(size, 32)) end
    info = (bit.band(flags, 4) ~= 0 and "bye" or "hello") .. " host=" .. tostring(tvb(8, 8):bytes()):lower()
  else
    local len = tvb(size - 2, 2):uint()
    if len > last - size then tree:add_proto_expert_info(short) return tvb:len() end
    body(tree, tvb, pinfo, size, len, kind == 2 and bit.band(flags, 1) ~= 0, kind == 1)
    if kind == 1 and is_signed then tree:add(f.tag, tvb(last - 8, 8)) end
    local at = kind == 1 and { 8, 60 } or { 24, 38 }
    info = info .. " sweep=" .. tostring(tvb(at[1], 8):uint64()) .. " seq=" .. tvb(at[2], 4):uint()
    if kind == 2 then info = info .. " host=" .. tostring(tvb(8, 8):bytes()):lower() end
  end
  pinfo.cols.info = info
  return tvb:len()
end

-- The original form shares the port: what does not begin with the magic is left to others.
local function guess(tvb, pinfo, root)
  if tvb:len() < 8 or tvb(0, 4):string() ~= "RCL1" then return false end
  rcl1.dissector(tvb, pinfo, root)
  return true
end
rcl1:register_heuristic("udp", guess)
