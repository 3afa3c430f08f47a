using System.Globalization;
using System.Text;
using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Volumes;

/// <summary>What a mark in the log says: the bytes behind its record are <c>name NUL group NUL milliseconds of Unix time</c>, UTF-8. A name
/// alone is a mark, too.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Group">The group whose volumes were marked at one barrier; null = this volume alone.</param>
/// <param name="Created">When, wall clock of the store that made it.</param>
public sealed record MarkText(string Name, string? Group, DateTimeOffset Created)
{
    /// <summary>The bytes behind the record.</summary>
    /// <exception cref="ArgumentException">The name is empty, or all of it is longer than a mark may be.</exception>
    public byte[] ToBytes()
    {
        if (string.IsNullOrEmpty(Name)) throw new ArgumentException("a mark needs a name");
        string when = Created == default ? "" : Created.ToUnixTimeMilliseconds().ToString(CultureInfo.InvariantCulture);
        byte[] bytes = Encoding.UTF8.GetBytes(Group is null && when.Length == 0 ? Name : $"{Name}\0{Group}\0{when}");
        return bytes.Length <= LogRecordCodec.MaxMarkName ? bytes
            : throw new ArgumentException($"a mark's name, group and time have at most {LogRecordCodec.MaxMarkName} bytes, these "
                + $"{bytes.Length}");
    }

    /// <summary>Reads them.</summary>
    public static MarkText Parse(ReadOnlySpan<byte> bytes)
    {
        string[] parts = Encoding.UTF8.GetString(bytes).Split('\0');
        bool timed = parts.Length > 2 && long.TryParse(parts[2], NumberStyles.None, CultureInfo.InvariantCulture, out long _);
        DateTimeOffset when = timed && long.Parse(parts[2], CultureInfo.InvariantCulture) is var ms
            && ms <= DateTimeOffset.MaxValue.ToUnixTimeMilliseconds() ? DateTimeOffset.FromUnixTimeMilliseconds(ms) : default;
        return new MarkText(parts[0], parts.Length > 1 && parts[1].Length > 0 ? parts[1] : null, when);
    }
}
