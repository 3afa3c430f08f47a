namespace SdnEdge.Testing.Bgp.Fuzz;

/// <summary>
/// Damages a message. Half of the time it takes an UPDATE apart, changes attributes or routes, and puts it together with
/// right lengths, so that the damage is deep inside; else it changes bytes anywhere.
/// </summary>
internal static class Mutator
{
    private static readonly byte[] InterestingCodes =
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 22, 23, 25, 28, 32, 35, 40, 128, 255];
    private static readonly byte[] InterestingBytes = [0, 1, 2, 3, 4, 5, 16, 24, 32, 33, 127, 128, 129, 224, 254, 255];

    public static byte[] Mutate(byte[] original, byte[][] updates, ref SplitMix random)
    {
        if (original[18] == 2 && random.Next(8) < 7 && Parts.Of(original) is { } parts)
        {
            for (int n = 1 + random.Next(2); n > 0; n--) Change(parts, updates, ref random);
            byte[] built = parts.Build();
            if (built.Length <= 4096) return built;
        }

        var bytes = new List<byte>(original);
        for (int n = 1 + random.Next(3); n > 0 && bytes.Count > 0; n--)
        {
            // Mostly behind the header.
            int first = random.Next(16) == 0 || bytes.Count <= 19 ? 0 : 19;
            int at = first + random.Next(Math.Max(1, bytes.Count - first));
            if (at >= bytes.Count) continue;
            switch (random.Next(7))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes[at] = InterestingBytes[random.Next(InterestingBytes.Length)];
                    break;
                case 2:
                    bytes[at] = (byte)(bytes[at] + random.Next(5) - 2);
                    break;
                case 3:
                    bytes.RemoveRange(at, Math.Min(1 + random.Next(4), bytes.Count - at));
                    break;
                case 4:
                    bytes.Insert(at, (byte)random.Next(256));
                    break;
                case 5:
                    bytes.RemoveRange(at, bytes.Count - at);
                    break;
                default:
                    byte[] other = updates[random.Next(updates.Length)];
                    int from = random.Next(other.Length);
                    bytes.InsertRange(at, other[from..Math.Min(other.Length, from + random.Next(40))]);
                    break;
            }
        }

        // A header whose length lies is worth a try now and then; it mostly only hides the rest.
        if (bytes.Count is >= 19 and <= 4096 && random.Next(10) > 0)
        {
            bytes[16] = (byte)(bytes.Count >> 8);
            bytes[17] = (byte)bytes.Count;
        }

        return [.. bytes];
    }

    private static void Change(Parts parts, byte[][] updates, ref SplitMix random)
    {
        List<byte[]> list = parts.Attributes;
        int at = list.Count == 0 ? -1 : random.Next(list.Count);
        int other = list.Count == 0 ? -1 : random.Next(list.Count);
        switch (random.Next(at < 0 ? 3 : 14))
        {
            case 0:
                parts.Nlri = Routes(parts.Nlri, ref random);
                break;
            case 1:
                parts.Withdrawn = Routes(parts.Withdrawn, ref random);
                break;
            case 2:
                if (Parts.Of(updates[random.Next(updates.Length)]) is { Attributes.Count: > 0 } donor)
                {
                    list.Insert(random.Next(list.Count + 1), donor.Attributes[random.Next(donor.Attributes.Count)]);
                }

                break;
            case 3:
                list[at] = [(byte)(list[at][0] ^ (1 << random.Next(8))), .. list[at][1..]];
                break;
            case 4:
                list[at] = [list[at][0], InterestingCodes[random.Next(InterestingCodes.Length)], .. list[at][2..]];
                break;
            case 5:
                list.Insert(random.Next(list.Count + 1), list[at]);
                break;
            case 6:
                list.RemoveAt(at);
                break;
            case 7:
                (list[at], list[other]) = (list[other], list[at]);
                break;
            case 8:
                // The length lies; what follows is read at another place.
                byte[] lying = [.. list[at]];
                lying[2] = (byte)(lying[2] + random.Next(9) - 4);
                list[at] = lying;
                break;
            case 9:
                Resize(list, at, random.Next(3) == 0 ? random.Next(300) : random.Next(14), ref random);
                break;
            case 10:
                // An AS path, or what will be taken for one.
                list[at] = Segments(list[at][0], ref random);
                break;
            default:
                byte[] value = [.. list[at]];
                if (value.Length > 3)
                    value[3 + random.Next(value.Length - 3)] = random.Next(2) == 0 ? (byte)random.Next(256)
                        : InterestingBytes[random.Next(InterestingBytes.Length)];
                list[at] = value;
                break;
        }
    }

    private static void Resize(List<byte[]> list, int at, int size, ref SplitMix random)
    {
        byte[] old = list[at];
        var value = new byte[size];
        for (int i = 0; i < size; i++) value[i] = 3 + i < old.Length ? old[3 + i] : (byte)random.Next(256);
        list[at] = UpdateSketch.Attribute((byte)(old[0] & 0xEF), old[1], value);
    }

    private static byte[] Segments(byte flags, ref SplitMix random)
    {
        var value = new List<byte>();
        for (int n = random.Next(4); n > 0; n--)
        {
            int count = random.Next(4);
            value.Add((byte)random.Next(6));
            value.Add((byte)(random.Next(8) == 0 ? random.Next(256) : count));
            for (int i = 0; i < count; i++)
                value.AddRange(random.Next(6) switch { 0 => [0, 0, 0, 0], 1 => [0, 0, 0xFD, 0xE8], 2 => [0xFA, 0x56, 0xEA, 1],
                    3 => [0xFD, 0xE9, 0x5B, 0xA0], _ => [0, 0, 0xFD, 0xE9] });
        }

        return UpdateSketch.Attribute((byte)(flags & 0xEF), random.Next(4) == 0 ? (byte)17 : (byte)2, value.ToArray());
    }

    private static byte[] Routes(byte[] routes, ref SplitMix random)
    {
        var changed = new List<byte>(routes);
        switch (random.Next(4))
        {
            case 0 when changed.Count > 0:
                changed[random.Next(changed.Count)] = InterestingBytes[random.Next(InterestingBytes.Length)];
                break;
            case 1 when changed.Count > 0:
                changed.RemoveAt(random.Next(changed.Count));
                break;
            case 2:
                changed.Clear();
                break;
            default:
                changed.AddRange([(byte)random.Next(33), 10, 77, (byte)random.Next(256), (byte)random.Next(256)]);
                break;
        }

        return [.. changed];
    }

    /// <summary>An UPDATE in its three parts, the attributes one by one.</summary>
    private sealed class Parts
    {
        public byte[] Withdrawn = [];
        public byte[] Nlri = [];
        public List<byte[]> Attributes = [];

        public static Parts? Of(byte[] message)
        {
            if (message.Length < 23) return null;
            int withdrawn = (message[19] << 8) + message[20], at = 21 + withdrawn;
            if (at + 2 > message.Length) return null;
            int end = at + 2 + (message[at] << 8) + message[at + 1];
            if (end > message.Length) return null;
            var parts = new Parts { Withdrawn = message[21..at], Nlri = message[end..] };
            for (at += 2; at < end;)
            {
                if (at + 4 > end) return null;
                int size = (message[at] & 0x10) != 0 ? 4 + (message[at + 2] << 8) + message[at + 3] : 3 + message[at + 2];
                if (at + size > end) return null;
                parts.Attributes.Add(message[at..(at + size)]);
                at += size;
            }

            return parts;
        }

        public byte[] Build()
        {
            int attributes = Attributes.Sum(a => a.Length);
            return UpdateSketch.Message(2,
                [(byte)(Withdrawn.Length >> 8), (byte)Withdrawn.Length, .. Withdrawn, (byte)(attributes >> 8), (byte)attributes,
                    .. Attributes.SelectMany(a => a), .. Nlri]);
        }
    }
}
