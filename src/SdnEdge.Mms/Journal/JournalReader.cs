using SdnEdge.Client;
using SdnEdge.Core.Config;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Journal.Etcd;

namespace SdnEdge.Mms.Journal;

/// <summary>A journal that is only read, wherever it is. A manager may be using it.</summary>
public sealed class JournalReader : IAsyncDisposable
{
    private readonly EtcdClient? _etcd;

    private JournalReader(IJournal journal, EtcdClient? etcd) => (Journal, _etcd) = (journal, etcd);

    /// <summary>The journal.</summary>
    public IJournal Journal { get; }

    /// <summary>Opens a journal's file, or the journal that a manager's configuration names: a file that ends in .yaml or .yml.</summary>
    /// <param name="file">The file.</param>
    /// <param name="check">Whether every record of a file is checked now; else each one when it is read, as in etcd always.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="JournalUnavailableException">There is none, or it cannot be read.</exception>
    public static async Task<JournalReader> OpenAsync(string file, bool check, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(file);
        if (Path.GetExtension(file) is not (".yaml" or ".yml"))
            return new JournalReader(await SqliteJournal.OpenReadOnlyAsync(file, check, cancel), null);
        MmsConfig config = Read(file);
        if (config.Etcd is not { } place)
            return new JournalReader(await SqliteJournal.OpenReadOnlyAsync(config.Journal, check, cancel), null);
        ClientIdentity? identity;
        try
        {
            identity = place.IsHttps && config.Identity is { } files
                ? ClientIdentity.Load(files.Certificate, files.Key, files.Authority) : null;
        }
        catch (IOException e)
        {
            throw new JournalUnavailableException(JournalFault.Io, $"journal {place.Prefix} in etcd: {e.Message}", null, e);
        }

        var etcd = new EtcdClient(place, identity);
        try
        {
            IJournal journal = await EtcdJournal.OpenReadOnlyAsync(etcd, place.Prefix, cancel) ?? throw new JournalUnavailableException(
                JournalFault.Io, $"there is no journal {place.Prefix} in etcd: no manager with this file has led yet");
            return new JournalReader(journal, etcd);
        }
        catch
        {
            etcd.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await Journal.DisposeAsync();
        _etcd?.Dispose();
    }

    private static MmsConfig Read(string file)
    {
        string text;
        try
        {
            text = File.ReadAllText(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new JournalUnavailableException(JournalFault.Io, $"{file} cannot be read: {e.Message}", null, e);
        }

        MmsConfigResult read = MmsConfigLoader.Load(text, file);
        return read.Config ?? throw new JournalUnavailableException(JournalFault.Io,
            $"{file} is no good configuration of a manager:\n  {string.Join("\n  ", read.Errors)}");
    }
}
