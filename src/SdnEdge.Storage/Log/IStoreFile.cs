using SdnEdge.Linux;

namespace SdnEdge.Storage.Log;

/// <summary>
/// A file below a volume: bytes by position, from any thread. The log, the superblock, the hash tree and the image are written through it,
/// so that a test can put a disk there that loses what was not synced. What fails is answered by an error number, 0 is success.
/// </summary>
public interface IStoreFile : IDisposable
{
    /// <summary>What to call it towards people.</summary>
    string Name { get; }

    /// <summary>Bytes.</summary>
    long Length { get; }

    /// <summary>Reads all of <paramref name="into"/>; behind the end are zeros.</summary>
    int Read(long offset, Span<byte> into);

    /// <summary>Writes all of <paramref name="bytes"/>. It is durable after <see cref="Sync"/>.</summary>
    int Write(long offset, ReadOnlySpan<byte> bytes);

    /// <summary>Writes two runs one behind the other by one call.</summary>
    int Write(long offset, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second);

    /// <summary>What was written is durable. After a failure that is unknown for everything since the last success.</summary>
    int Sync();

    /// <summary>A range reads as zeros and needs no room.</summary>
    int PunchHole(long offset, long length);

    /// <summary>Gives a range room on the disk.</summary>
    int Allocate(long offset, long length);

    /// <summary>Gives it so many bytes, where it has fewer; the new ones are zeros that need no room. That is durable after <see
    /// cref="Sync"/>.</summary>
    int SetLength(long length);

    /// <summary>The first byte at or behind <paramref name="offset"/> that may not be a hole; <see cref="Length"/> when there is
    /// none.</summary>
    long NextData(long offset);

    /// <summary>The first byte at or behind <paramref name="offset"/> that is in a hole; <see cref="Length"/> when there is none.</summary>
    long NextHole(long offset);

    /// <summary>The range will soon be written in part: it is fetched into memory where that helps.</summary>
    void ReadAhead(long offset, long length);

    /// <summary>What was written to the range begins to go to the disk, so that the next <see cref="Sync"/> waits for less. A hint: no
    /// error is reported, and none is lost.</summary>
    void WriteBehind(long offset, long length)
    {
        // Not every file can.
    }
}

/// <summary>The folder that the files of a volume are in.</summary>
public interface IStoreFolder
{
    /// <summary>Opens a file; one that is to be made gets <paramref name="length"/> bytes of zeros, and its name is durable on
    /// return.</summary>
    /// <param name="name">Its name in this folder; subfolders by a slash.</param>
    /// <param name="length">Of a new file; an existing one keeps its own. -1: it must be there already.</param>
    /// <param name="error">The error number when the answer is null.</param>
    IStoreFile? Open(string name, long length, out int error);

    /// <summary>The names of the files in a subfolder, in ordinal order; none when it is not there.</summary>
    IReadOnlyList<string> List(string subfolder);

    /// <summary>Deletes a file that nobody has open any more; its name is gone durably on return.</summary>
    /// <returns>0, or the error number.</returns>
    int Delete(string name);
}

/// <summary>A file of this machine.</summary>
internal sealed class DiskFile : IStoreFile
{
    private readonly RawFile _file;

    public DiskFile(RawFile file)
    {
        _file = file;
        Length = file.Length();
    }

    public string Name => _file.Path;

    public long Length { get; private set; }

    public int Read(long offset, Span<byte> into) => _file.Read(offset, into);

    public int Write(long offset, ReadOnlySpan<byte> bytes) => _file.Write(offset, bytes);

    public int Write(long offset, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second) => _file.Write(offset, first, second);

    public int Sync() => _file.SyncData();

    public int PunchHole(long offset, long length) => _file.PunchHole(offset, length);

    public int Allocate(long offset, long length) => _file.Allocate(offset, length);

    public int SetLength(long length)
    {
        // A device may have been made larger meanwhile.
        Length = Math.Max(Length, _file.Length());
        if (Length >= length) return 0;
        int error = _file.SetLength(length);
        if (error == 0) Length = length;
        return error;
    }

    public long NextData(long offset) => _file.NextData(offset);

    public long NextHole(long offset) => _file.NextHole(offset);

    public void ReadAhead(long offset, long length) => _file.ReadAhead(offset, length);

    public void WriteBehind(long offset, long length) => _file.WriteBehind(offset, length);

    public void Dispose() => _file.Dispose();
}

/// <summary>A folder of this machine.</summary>
internal sealed class DiskFolder(string path) : IStoreFolder
{
    public IStoreFile? Open(string name, long length, out int error)
    {
        string file = Path.Combine(path, name);
        error = 0;
        try
        {
            if (File.Exists(file) || length < 0) return new DiskFile(RawFile.Open(file, writable: true));
            string folder = Path.GetDirectoryName(file)!;
            if (!Directory.Exists(folder))
            {
                Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
                DurableFile.SyncFolder(Path.GetDirectoryName(folder)!);
            }

            var made = RawFile.Create(file);
            error = made.SetLength(length);
            if (error == 0)
            {
                DurableFile.SyncFolder(folder);
                return new DiskFile(made);
            }

            made.Dispose();
            File.Delete(file);
        }
        catch (LinuxException e)
        {
            error = e.ErrorNumber;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            error = RawFile.IoError;
        }

        return null;
    }

    public int Delete(string name)
    {
        string file = Path.Combine(path, name);
        try
        {
            File.Delete(file);
            DurableFile.SyncFolder(Path.GetDirectoryName(file)!);
            return 0;
        }
        catch (LinuxException e)
        {
            return e.ErrorNumber;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return RawFile.IoError;
        }
    }

    public IReadOnlyList<string> List(string subfolder)
    {
        string folder = Path.Combine(path, subfolder);
        if (!Directory.Exists(folder)) return [];
        return [.. Directory.EnumerateFiles(folder).Select(file => Path.GetFileName(file)!).Order(StringComparer.Ordinal)];
    }
}
