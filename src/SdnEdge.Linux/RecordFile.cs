using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace SdnEdge.Linux;

/// <summary>What was found where a record belongs.</summary>
/// <typeparam name="T">The record.</typeparam>
/// <param name="Record">The record; null when there is no file or it cannot be used.</param>
/// <param name="Fault">What is wrong with the file and what would be right, to be read behind its path; null = nothing.</param>
public sealed record RecordRead<T>(T? Record, RecordFault? Fault)
    where T : class;

/// <summary>Why a record's file cannot be used.</summary>
/// <param name="What">What is wrong, to be read behind its path.</param>
/// <param name="Right">What would be right; null = the file has to be restored.</param>
public sealed record RecordFault(string What, string? Right = null);

/// <summary>
/// A file with one record, replaced as a whole (<see cref="DurableFile"/>):
/// <code>
/// {"version":1,"sha256":"&lt;of the record's bytes as they stand here&gt;","record":{...}}
/// </code>
/// It is valid if and only if its version is 1, the checksum is that of the bytes of its record, and the record is one of its type. A file
/// that was damaged, truncated, edited or written by a later version is refused, and never taken for an empty one.
/// </summary>
public static class RecordFile
{
    private const int Version = 1;

    /// <summary>Reads a record.</summary>
    /// <typeparam name="T">The record.</typeparam>
    /// <param name="path">The file.</param>
    /// <param name="type">How it is read.</param>
    public static RecordRead<T> Read<T>(string path, JsonTypeInfo<T> type)
        where T : class
    {
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(path);
        }
        catch (FileNotFoundException)
        {
            return new RecordRead<T>(null, null);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new RecordRead<T>(null, new RecordFault($"cannot be read: {e.Message}", "make it readable"));
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(bytes);
            JsonElement root = document.RootElement;
            int version = root.GetProperty("version").GetInt32();
            if (version != Version)
                return new RecordRead<T>(null, new RecordFault($"has version {version} and this program reads version {Version}",
                    "run the program that wrote it, or a later one"));
            JsonElement record = root.GetProperty("record");
            return root.GetProperty("sha256").GetString() == Checksum(record.GetRawText())
                ? new RecordRead<T>(record.Deserialize(type)!, null)
                : new RecordRead<T>(null, new RecordFault("is damaged: its checksum is wrong"));
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            return new RecordRead<T>(null, new RecordFault($"is damaged: {e.Message}"));
        }
    }

    /// <summary>Makes a record durable: when this returns it is on disk.</summary>
    /// <typeparam name="T">The record.</typeparam>
    /// <param name="path">The file.</param>
    /// <param name="record">The record.</param>
    /// <param name="type">How it is written.</param>
    /// <exception cref="IOException">It could not be written; says which file.</exception>
    public static void Write<T>(string path, T record, JsonTypeInfo<T> type)
    {
        string text = JsonSerializer.Serialize(record, type);
        try
        {
            DurableFile.Replace(path,
                Encoding.UTF8.GetBytes($"{{\"version\":{Version},\"sha256\":\"{Checksum(text)}\",\"record\":{text}}}\n"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"{path} cannot be written: {e.Message}; make room for it and make it writable", e);
        }
    }

    private static string Checksum(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
}
