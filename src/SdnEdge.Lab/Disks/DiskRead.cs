using System.Security.Cryptography;

namespace SdnEdge.Lab.Disks;

/// <summary>What was read from a site's disk.</summary>
/// <param name="Store">The store.</param>
/// <param name="SizeBytes">Bytes read: all of the volume.</param>
/// <param name="Sha256">Over all of them; the same at two sites: the same bytes.</param>
/// <param name="Expected">Records that are to be there.</param>
/// <param name="Lost">Of these: not there, or not as written.</param>
/// <param name="Damaged">Of the lost: something is there that is no whole record.</param>
/// <param name="FirstLost">The lowest number that is lost; null = none is.</param>
/// <param name="Fault">Why it was not read; null = it was.</param>
public sealed record DiskRead(
    string Store, long SizeBytes, string Sha256, long Expected, long Lost, long Damaged, long? FirstLost, string? Fault = null)
{
    private const int Part = 1 << 20;

    /// <summary>Reads all of a volume by NBD and looks for the guest's records.</summary>
    /// <param name="store">The store's name.</param>
    /// <param name="socket">Its clients' socket.</param>
    /// <param name="volume">The volume.</param>
    /// <param name="boot">The boot that wrote the records.</param>
    /// <param name="acknowledged">The last number that was acknowledged.</param>
    /// <param name="cancel">Ends it.</param>
    public static async Task<DiskRead> OfAsync(
        string store, string socket, string volume, ulong boot, long acknowledged, CancellationToken cancel)
    {
        try
        {
            using NbdReader disk = await NbdReader.ConnectAsync(socket, volume, cancel);
            var records = new DiskRecords(disk.Size / DiskRecords.Size, boot, acknowledged);
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            byte[] part = new byte[Part];
            for (long at = 0; at < disk.Size;)
            {
                int length = (int)Math.Min(Part, disk.Size - at);
                await disk.ReadAsync(at, part.AsMemory(0, length), cancel);
                hash.AppendData(part.AsSpan(0, length));
                records.Add(part.AsSpan(0, length));
                at += length;
            }

            await disk.EndAsync(cancel);
            return new DiskRead(store, disk.Size, Convert.ToHexStringLower(hash.GetHashAndReset()), records.Expected, records.Lost,
                records.Damaged, records.FirstLost);
        }
        catch (IOException e)
        {
            return new DiskRead(store, 0, "", 0, 0, 0, null, e.Message);
        }
    }
}
