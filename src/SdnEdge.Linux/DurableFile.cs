namespace SdnEdge.Linux;

/// <summary>A file that is replaced as a whole, and is on disk when the call returns: after a crash it is the old one or the new
/// one.</summary>
public static class DurableFile
{
    /// <summary>
    /// Replaces a file: 1. the bytes go into a file beside it, 2. fsync, 3. rename over the old one, 4. fsync of the folder, so that
    /// the rename itself is on disk. The folder is made if it is not there, and then is on disk, too.
    /// </summary>
    /// <param name="path">Absolute path.</param>
    /// <param name="bytes">The new contents.</param>
    /// <exception cref="IOException">It could not be written; the old file is as it was, unless only the last step failed. The message
    /// says why.</exception>
    /// <exception cref="UnauthorizedAccessException">This user may not.</exception>
    public static void Replace(string path, ReadOnlySpan<byte> bytes)
    {
        string folder = Path.GetDirectoryName(path)!, beside = path + ".new";
        MakeFolder(folder);
        try
        {
            using var file = new FileStream(beside, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write,
                Share = FileShare.None, BufferSize = 0, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite });
            file.Write(bytes);
            file.Flush(flushToDisk: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Half a file would take room that a full disk needs.
            TryDelete(beside);
            throw;
        }

        File.Move(beside, path, overwrite: true);
        SyncFolder(folder);
    }

    /// <summary>fsync of a folder: names that were made, renamed or removed in it are on disk.</summary>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public static void SyncFolder(string folder)
    {
        int descriptor = Libc.Open(folder, Libc.O_RDONLY | Libc.O_CLOEXEC);
        if (descriptor < 0) throw LinuxException.Last($"open folder {folder}");
        try
        {
            if (Libc.FSync(descriptor) != 0) throw LinuxException.Last($"fsync folder {folder}");
        }
        finally
        {
            _ = Libc.Close(descriptor);
        }
    }

    private static void MakeFolder(string folder)
    {
        if (Directory.Exists(folder)) return;
        string? above = Path.GetDirectoryName(folder);
        if (above is not null) MakeFolder(above);
        Directory.CreateDirectory(folder);
        if (above is not null) SyncFolder(above);
    }

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The first failure is told; this one adds nothing.
        }
    }
}
