using System.Diagnostics;
using System.Security.Cryptography;
using SdnEdge.Lab.Disks;
using SdnEdge.Lab.Running;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests.Disks;

/// <summary>A disk is read through its server as a client reads it.</summary>
[Trait("needs", "executable")]
public sealed class DiskReadTests : IDisposable
{
    private const ulong Boot = 77;
    private const int Places = 600;   // more than one part of what is read at a time, and no whole number of them

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sdnedge-test-");

    [Fact]
    public async Task All_of_it_is_read_and_every_record_that_is_missing_is_found()
    {
        byte[] image = new byte[Places * DiskRecords.Size];
        for (long n = 1; n <= 700; n++) DiskRecords.Make(Boot, n).CopyTo(image, n % Places * DiskRecords.Size);
        image[(333 * DiskRecords.Size) + 100] ^= 1;
        image.AsSpan(650 % Places * DiskRecords.Size, DiskRecords.Size).Clear();
        string file = Path.Combine(_folder.FullName, "disk.img"), socket = Path.Combine(_folder.FullName, "disk.sock");
        await File.WriteAllBytesAsync(file, image);
        IReadOnlyList<string> self = RunningLab.Self;
        using Process server = Process.Start(new ProcessStartInfo(self[0], [.. self.Skip(1), "store", "serve", file, "--unix", socket])
        {
            RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false,
        })!;
        try
        {
            DiskRead read = await Patience.ReadAsync(
                () => DiskRead.OfAsync("store-a", socket, "", Boot, 700, CancellationToken.None), r => r.Fault is null, "the disk is read");
            Assert.Equal((image.Length, Convert.ToHexStringLower(SHA256.HashData(image))), (read.SizeBytes, read.Sha256));
            Assert.Equal((Places, 2, 1, 333), (read.Expected, read.Lost, read.Damaged, read.FirstLost));
            DiskRead none = await DiskRead.OfAsync("store-a", socket + ".none", "", Boot, 1, CancellationToken.None);
            Assert.Contains("no store answers at", none.Fault, StringComparison.Ordinal);
        }
        finally
        {
            server.Kill();
            await server.WaitForExitAsync();
        }
    }

    public void Dispose() => _folder.Delete(recursive: true);
}
