using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Testing;

namespace SdnEdge.Host.Tests.Qemu;

/// <summary>What came of a comparison.</summary>
/// <param name="Pages">Pages that were compared.</param>
/// <param name="NotZero">Those with anything in them.</param>
/// <param name="Differing">Physical addresses of those that differ, at most 64 of them.</param>
/// <param name="CopyMs">From prepare to the convenient point, milliseconds.</param>
internal sealed record MemoryComparison(long Pages, long NotZero, IReadOnlyList<long> Differing, double CopyMs);

/// <summary>
/// Compares a guest's memory at both ends of a move, when it has been handed over and runs nowhere. Each QEMU writes its guest's physical
/// memory to a file (pmemsave), asked by a monitor that is the test's own.
/// </summary>
internal static class GuestMemory
{
    /// <summary>The guest's memory, which begins at physical address 0.</summary>
    public const long Bytes = 128L << 20;

    /// <summary>Bytes of a page.</summary>
    public const int PageBytes = 4096;

    private const int MostNamed = 64;

    /// <summary>Moves the guest, with the comparison between hand-over and activate.</summary>
    public static async Task<MemoryComparison> MoveAsync(TwoAgents two, HostAgent from, HostAgent to, long epoch)
    {
        long began = Stopwatch.GetTimestamp();
        await two.MirroredAsync(from, to, epoch);
        double copyMs = Stopwatch.GetElapsedTime(began).TotalMilliseconds;
        await TwoAgents.OrderAsync(from, ServerOrder.Stop, epoch);
        MemoryComparison compared = await CompareAsync(two.MonitorOf(from), two.MonitorOf(to));
        await TwoAgents.OrderAsync(to, ServerOrder.Activate, epoch);
        await TwoAgents.OrderAsync(from, ServerOrder.Retire, epoch);
        return compared with { CopyMs = copyMs };
    }

    private static async Task<MemoryComparison> CompareAsync(string first, string second)
    {
        string folder = Directory.CreateTempSubdirectory("sdnedge-memory-").FullName;
        try
        {
            string a = Path.Combine(folder, "a"), b = Path.Combine(folder, "b");
            await SaveAsync(first, a);
            await SaveAsync(second, b);
            return Compare(a, b);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static MemoryComparison Compare(string first, string second)
    {
        using FileStream a = File.OpenRead(first), b = File.OpenRead(second);
        if (a.Length != Bytes || b.Length != Bytes)
            throw new InvalidOperationException($"saved were {a.Length} and {b.Length} bytes of memory, not {Bytes}");
        byte[] left = new byte[1 << 20], right = new byte[1 << 20];
        var differing = new List<long>();
        long pages = 0, notZero = 0;
        for (long at = 0; at < Bytes; at += left.Length)
        {
            a.ReadExactly(left);
            b.ReadExactly(right);
            for (int page = 0; page < left.Length; page += PageBytes)
            {
                ReadOnlySpan<byte> here = left.AsSpan(page, PageBytes);
                pages++;
                if (here.ContainsAnyExcept((byte)0)) notZero++;
                if (differing.Count < MostNamed && !here.SequenceEqual(right.AsSpan(page, PageBytes))) differing.Add(at + page);
            }
        }

        return new MemoryComparison(pages, notZero, differing, 0);
    }

    // The guest stands still: a run state in which it might change its memory is an error of the caller.
    private static async Task SaveAsync(string monitor, string file)
    {
        using var end = new CancellationTokenSource(Patience.Time);
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(monitor), end.Token);
        await using var stream = new NetworkStream(socket);
        using var reader = new StreamReader(stream);
        await ExecuteAsync("""{"execute":"qmp_capabilities","id":1}""", 1);
        JsonElement status = await ExecuteAsync("""{"execute":"query-status","id":2}""", 2);
        if (status.GetProperty("running").GetBoolean()) throw new InvalidOperationException($"the guest at {monitor} runs: {status}");
        await ExecuteAsync($$$"""{"execute":"pmemsave","arguments":{"val":0,"size":{{{Bytes}}},"filename":"{{{file}}}"},"id":3}""", 3);

        async Task<JsonElement> ExecuteAsync(string line, int id)
        {
            await stream.WriteAsync(Encoding.UTF8.GetBytes(line + "\n"), end.Token);
            while (await reader.ReadLineAsync(end.Token) is { } said)
            {
                JsonElement message = JsonDocument.Parse(said).RootElement;
                if (!message.TryGetProperty("id", out JsonElement of) || of.GetInt32() != id) continue;   // the greeting, or an event
                return message.TryGetProperty("return", out JsonElement answer) ? answer
                    : throw new InvalidOperationException($"{line} at {monitor}: {said}");
            }

            throw new IOException($"{monitor} was closed");
        }
    }
}
